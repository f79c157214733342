"""The 1vN code-quality pipeline: six steps from tasks to a report.

command, calling      a command line, or a call from Python, becomes one run
   steps              1 read tasks   2 ask   3 fold   4 statistics   5 pictures   6 reports
     judges           who is asked: the first judge, and the second
     asking           what no record answers is asked, recorded and listed
     told             what the console says (texts)
"""

from analyze.pipeline.calling import arun_pipeline, run_pipeline

__all__ = ["arun_pipeline", "run_pipeline"]
