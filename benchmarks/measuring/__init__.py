"""What every measurement needs: percentiles and ratios, processor time of processes, and a record of the machine."""
