"""The verifier: attests what it holds, recomputes, seals and opens its ballot; probes what was promoted."""
