"""`python predict.py …` is `dosewright predict …`, for those who expect the script at the top of a repository."""

import sys

from dosewright.jobs.cli import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
