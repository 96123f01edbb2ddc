"""The one error of configuration."""


class ConfigError(Exception):
    """A configuration that cannot be used; its text is one sentence per problem, for an operator.

    Raised for unreadable files, unknown names, values out of range and settings that contradict each
    other. Everything in ``epp.config`` is total: no other exception leaves it, whatever the input.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        """The sentences, one per problem."""
