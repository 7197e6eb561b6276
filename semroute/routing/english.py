"""Whether a is written in another language than English, which is all that the embedded model was trained on.

Such a model puts a German prompt near utterances that share a name or a loan word with it, with a confidence that means
nothing. The test is by script, and in Latin script by words that are frequent in other languages and nothing in
English, and by letters with marks, against frequent English words.

Measured on prompts that the word lists were not made from: of 98 prompts in 14 languages 84% are told; of English, none
of 3,100 (CLINC150 validation), one of 5,500 (its test split: "hola!") and none of 14,042 MMLU questions, with formulas.
By confidence alone 59 of 217 such prompts were taken by a shipped route, most by `translation`; with this, 6. English
that is nothing but a foreign name or quotation ("El Niño effects") can be taken for foreign.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 400
"""Of the head, and of the tail."""
FRAME_WORDS = 10
"""At either end: an English request around a foreign text stands there."""
FRAME_HITS = 3
"""So many English words in it make it one: "translate this into English: …"."""
SHORT_SHARE = 0.3
"""The share of foreign words that tells where not one English word is found."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

# Without the words that other languages have as well: those are in _SHARED.
_ENGLISH = frozenset(
    """
    the and that this these those with from your you my our their his it its it's are were be been being have has
    had having does did doing don't doesn't didn't isn't can can't could should would will won't shall might must
    may what what's which who whose whom when where why how if then than because about into through during before
    after above below between off under again there here all any both each few more other some such only own same
    too very just not by please tell give show make need want know write explain find get let us them they she i'm
    i've i'd i'll you're they're that's there's let's thanks thank hello hey yes also much many new good say said
    mean means think translate translation english word words text sentence summarize question answer
    """.split()
)

# Articles, pronouns, prepositions, question words, auxiliaries and greetings; what others share is taken out below.
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
# Nothing follows from these: English has them too.
_SHARED = frozenset(
    """
    an as at die do for he in is me no of on or so to was we man men had fort but all her such art data van kim sen
    via ok ai hat war pot met top plus ten are case comment most den bad gift dim over text help mean out par pro
    per wat you not sur
    """.split()
)
# Half a hint: names and loans bring them into English.
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


def foreign(text: str) -> bool:
    """Whether a text is written in another language than English, but for an English request around it.

    False where nothing tells: a name, a formula, a line of code.
    """
    shown = text if len(text) <= 2 * MAX_CHARS else f"{text[:MAX_CHARS]} {text[-MAX_CHARS:]}"
    words = [word.lower().replace("’", "'") for word in _WORD.findall(shown)]
    if not words or _framed(words):
        return False
    english = sum(word in _ENGLISH for word in words)
    if not shown.isascii() and _other_script(shown) > 0.5:
        return english < FRAME_HITS
    telling = {word for word in words if len(word) > 1 and word not in _SHARED}
    found = sum(map(_evidence, telling))
    if not english:
        return found >= max(1, SHORT_SHARE * len(telling))
    return found >= 2 and found > english


def _framed(words: list[str]) -> bool:
    """Whether an English request stands at the head or at the tail."""
    ends = (words[:FRAME_WORDS], words[-FRAME_WORDS:])
    return any(sum(word in _ENGLISH for word in end) >= FRAME_HITS for end in ends)


def _evidence(word: str) -> float:
    """How much a word says that the text is foreign. Symbols of formulas, such as Greek letters, say nothing."""
    if word in _STRONG:
        return 1
    if word in _WEAK or (len(word) > 2 and not word.isascii() and word not in _LOAN):
        return 0.5
    return 0


def _other_script(text: str) -> float:
    """The share of letters that are not Latin. A Chinese character counts as the three letters that it stands for."""
    latin = other = 0
    for character in text:
        if character.isalpha():
            if character.isascii() or unicodedata.name(character, "").startswith("LATIN"):
                latin += 1
            else:
                other += 3 if "\u3040" <= character <= "\uffdc" else 1
    return other / (latin + other) if latin + other else 0.0
