"""The classes of Kinetics-Sounds, by their names in Kinetics-400.

Arandjelovic and Zisserman (Look, Listen and Learn, ICCV 2017, section 4.1 and appendix) chose 34 classes of an early
list of Kinetics. Kinetics-400 as released has other names for some of them and does not have three. So there is no one
Kinetics-Sounds: authors use 31 classes (the list in IBM/AdaMML issue 3), or 32 with `strumming guitar` (the list in
pritamqu/CrissCross issue 4). Lee et al. (ICLR 2021) have 32 classes in their configuration and do not list them; we
take the 32 below for theirs.
"""

# The classes that have the same name in Kinetics-400.
SAME_NAMES = (
    "blowing nose, bowling, chopping wood, laughing, playing accordion, playing bagpipes, playing bass guitar, "
    "playing clarinet, playing drums, playing guitar, playing harmonica, playing keyboard, playing organ, playing "
    "piano, playing saxophone, playing trombone, playing trumpet, playing violin, playing xylophone, ripping paper, "
    "shoveling snow, shuffling cards, singing, tap dancing, tapping guitar, tapping pen, tickling"
)
# Name in the paper of 2017: name in Kinetics-400; None where it has no such class.
PAPER_NAMES: dict[str, str | None] = {
    **{name: name for name in SAME_NAMES.split(", ")},
    "blowing out": "blowing out candles",
    "dribbling ball": "dribbling basketball",
    "fingerpicking": None,
    "mowing the lawn by pushing lawnmower": "mowing lawn",
    "patting": None,
    "stomping": "stomping grapes",
    "typing": None,
}
CLASSES_31 = tuple(sorted(name for name in PAPER_NAMES.values() if name))
CLASSES_32 = tuple(sorted((*CLASSES_31, "strumming guitar")))
