"""Find the words with which an answer says that it may be wrong, or that it does not know. Pure.

Only what the answer says about itself counts, not what it tells about others or quotes. `bench/wording.py` measures the
list on answers that were not used to extend it.
"""

from __future__ import annotations

import re

from semroute.config.regular_expressions import contains_match

_QUOTED = re.compile(r'"[^"\n]{1,300}"|\u201c[^\u201d\n]{1,300}\u201d')
_AM = r"\b(?:i(?:'m| am)|we(?:'re| are))"
_SURE = r"(?:sure|certain|confident|positive|convinced|aware of (?:any|a|such)|familiar with|the best source)"
_HEDGES = (
    # I am not sure
    rf"{_AM} (?:\w+ ){{0,2}}(?:not|by no means) (?:\w+ |100 ?% ){{0,3}}{_SURE}",
    rf"(?:{_AM}|\bi (?:remain|feel)) (?:\w+ ){{0,2}}(?:unsure|uncertain|guessing|speculating|far from (?:sure"
    rf"|certain)|drawing a blank)",
    r"\bi(?:'m| am) (?:unable|struggling|not able) to (?:confirm|verify|determine|tell|find|answer|say|recall|judge)",
    r"\bi (?:was not|wasn't|was un|haven't been) ?able to (?:confirm|verify|determine|tell|find|answer)",
    r"^\W*(?:hmm\W+|well\W+|honestly\W+)?not (?:\w+ ){0,2}(?:sure|certain)\b",
    # I do not know
    r"\bi (?:\w+ ){0,2}(?:do not|don't|did not|didn't|cannot|can't|can not|could not|couldn't|would not|wouldn't) "
    r"(?:\w+ ){0,2}?(?:know|recall|remember|verify|confirm|determine|judge|be (?:\w+ |100 ?% )?(?:sure|certain)"
    r"|feel (?:sure|certain|confident)"
    r"|(?:tell|say)(?: you)?(?: that| this)? (?:for|from|with|if|whether|which|who|what)|bet on"
    r"|find (?:an? |any |the )?(?:definit|reliable|answer|information|source|mention|record|evidence"
    r"|anything (?:about|on)))",
    r"\bi (?:really |honestly )?(?:cannot|can't) (?:tell\b|say[.,;!])|\bwe (?:cannot|can't) (?:be (?:sure"
    r"|certain)|know)\b",
    r"\bi (?:\w+ )?(?:do not|don't) (?:\w+ )?have (?:enough|sufficient|access to|any (?:information|data"
    r"|details|record)"
    r"|(?:that|the|this|more|current|recent|reliable|up-to-date|real-time) (?:information|data|details|figures"
    r"|answer)"
    r"|an? (?:definitive|definite|exact|reliable|clear) )",
    r"\bi (?:\w+ )?(?:do not|don't) think i can (?:answer|say|tell)",
    r"\bi would not be able to (?:say|tell)",
    r"\bi (?:can|could) (?:only|just) (?:guess|speculate|assume|estimate)",
    r"\bi can neither (?:confirm|say)",
    r"\bi (?:\w+ )?(?:have no (?:idea|information|data|knowledge|record|way)|lack (?:the|sufficient|enough|any))",
    r"\bi (?:have|had) (?:some|my|serious) doubts|\bi doubt that (?:my|this)",
    r"\bi (?:certainly|surely) (?:don't|do not)\b|\b(?:haven't|have not) (?:a|the (?:faintest"
    r"|foggiest)) (?:clue|idea)",
    r"\bi(?:'d| would) need (?:to (?:see|know|(?:double-?)?check|verify|confirm)|more|further|additional|some more)",
    # I may be wrong
    r"\bi (?:may|might|could) (?:well )?(?:be (?:wrong|mistaken|missing|off\b|misremembering|out of date)"
    r"|have (?:misunderstood|misread|mixed|missed|this|it|that|got))",
    r"\bpossible that i (?:\w+ )?(?:mis|am wrong|made|missed)",
    r"\bif i (?:recall|remember|am not mistaken|'m not mistaken)\b(?: it| this| that)? ?(?:correctly|rightly|right)?",
    r"\b(?:as far as i (?:know|can tell|am aware|remember)|to (?:the best of )?my knowledge)\b",
    r"\bmy (?:best |own )?guess\b|\byour guess is as good as mine\b|\bjust a guess\b",
    r"\bmy (?:knowledge|information|memory|data|numbers|figures|sources?) (?:on this )?(?:may|might|could"
    r"|is (?:limited|out))",
    r"\b(?:uncertainty|doubt) in my (?:answer|calculation|estimate)",
    r"\b(?:beyond|outside) (?:of )?(?:what i know|my knowledge)",
    r"\b(?:this|that|it) is (?:only |just |pure |mere )*(?:speculation|a guess)\b",
    r"\btake (?:this|that|it|my \w+) with a (?:grain|pinch) of salt|\bdo(?:n't| not) quote me\b",
    r"\bescapes me\b|^\W*beats me\b|\bno expert\b",
    r"\bbut,? (?:please |i(?:'d| would) )(?:double-?check|check|verify|confirm) (?:that|this|it)\b",
    # it cannot be known
    r"\bit(?:'s| is| would be) (?:hard|difficult|impossible|not possible|tough) (?:for me )?"
    r"to (?:say|tell|know|determine|judge|be (?:sure|certain)|answer)\b",
    r"(?:^|[.!?] )\W*(?:hard|difficult|impossible|tough) to (?:say|tell|know|judge)\b",
    r"\bit(?:'s| is) (?:not (?:entirely |quite )?(?:clear|known)|unclear|uncertain|not certain)(?: to me)? "
    r"(?:from|that|whether|if|based|given|in the)\b",
    r"\b(?:context|text|passage|documents?|information|article|excerpt|sources?)(?: provided| given)? "
    r"(?:do(?:es)? not|doesn't|don't) (?:contain|mention|say|state|specify|tell|indicate)",
    r"\b(?:this|that|it|the (?:question|answer)) (?:cannot|can't|can not|could not) be (?:determined|known"
    r"|answered|inferred)",
    r"\b(?:not enough|insufficient|too little) (?:information|data|context|details?|evidence)\b",
    r"\bno way (?:of knowing|for me to|to (?:know|tell) for)",
)
HEDGES = f"(?i){'|'.join(_HEDGES)}"


def hedges(text: str) -> bool:
    """Return whether a text says that it may be wrong."""
    return contains_match(HEDGES, _QUOTED.sub('""', text.replace("\u2019", "'")))
