"""`python train.py …` is `dosewright train …`, for those who expect the script at the top of a repository."""

import sys

from dosewright.jobs.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
