"""When the right label is always among the five most probable. No other module is needed here."""


def is_certain(labels: int) -> bool:
    """Whether top-5 is 100 % whatever the model says: of five labels or fewer."""
    return labels <= 5
