"""The ``scorers`` policy: filters, then weighted scorers, then a picker, all of them plugins.

Read :mod:`context <epp.core.scheduling.context>` for what a decision sees, :mod:`plugin
<epp.core.scheduling.plugin>` for what a plugin is, :mod:`pipeline <epp.core.scheduling.pipeline>` for how
they make a choice, and :mod:`building <epp.core.scheduling.building>` for how a configuration becomes one.
"""
