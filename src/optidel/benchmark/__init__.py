"""Methods × budgets × seeds × objectives × tasks: run, measured, compared."""

from optidel.benchmark.bench import Bench
from optidel.benchmark.load import load_bench, make_bench
from optidel.benchmark.report import write_bench_report
from optidel.benchmark.runner import run_bench

__all__ = ["Bench", "load_bench", "make_bench", "run_bench", "write_bench_report"]
