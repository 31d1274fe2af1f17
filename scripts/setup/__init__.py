"""Sets the project up in its own clone: `python3 -m scripts.setup`, or `make setup`.

Runs before anything is installed, so it needs the standard library only. It makes two folders, both ignored
by git: `.venv` (Python packages, from hashed locks) and `.toolchain` (CometBFT and Kubo compiled from
pinned Go modules, logs, stamps). The second run finds everything in place and touches no network.

- `pins`        where things are, and which versions are wanted: read from the files that pin them
- `machine`     what this machine offers, and what it lacks
- `stamps`      whether a stage's result still stands
- `stages`      running stages in order or side by side, with a log, a lock and clear failures
- `plan`        which stages are left to do, and whether this machine can do them
- `python_env`  the stages that install Python packages
- `go_tools`    the stages that compile the two nodes
- `screen`      what a person sees
- `command`     the order of it all
"""
