"""A load generator: a seeded plan of requests, a cheap HTTP client that measures them, a summary.

``plan`` (what is asked, and when) → ``run`` (the plan in progress, sans-IO) → ``driver`` (asyncio, over
``client``) → ``summary`` (what came out).
"""

from epp.testing.load.driver import Target, drive
from epp.testing.load.outcome import Outcome
from epp.testing.load.plan import LoadPlan, LoadSpec, make_plan
from epp.testing.load.summary import Summary, summarize

__all__ = ["LoadPlan", "LoadSpec", "Outcome", "Summary", "Target", "drive", "make_plan", "summarize"]
