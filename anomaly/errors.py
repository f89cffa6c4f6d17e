"""The error tree: whatever a user can mend is an `AnomalyError`.

AnomalyError
├── ConfigError      a key, a choice or a target in the configuration
├── DataError        the rows themselves
│   └── SchemaError  the columns: missing, of the wrong type, in two roles
├── NotFittedError   used before `fit`
└── ArtifactError    a run folder: missing, damaged, of another version
"""


class AnomalyError(Exception):
    """Something the user can mend; the message says what, where and what to do."""


class ConfigError(AnomalyError):
    """A wrong key, choice or target in the configuration."""


class DataError(AnomalyError):
    """Rows that cannot be used as they are."""


class SchemaError(DataError):
    """Columns that are missing, of the wrong type, or in two roles."""


class NotFittedError(AnomalyError):
    """An object was used before `fit`."""


class ArtifactError(AnomalyError):
    """A run folder that is missing, damaged or of another version."""
