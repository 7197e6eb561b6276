from __future__ import annotations

import pytest

from semroute.routing.english_check import foreign

FOREIGN = {
    "German": ["kannst du diesen Code überprüfen", "mein Konto wurde gesperrt", "Danke, das war sehr hilfreich"],
    "French": ["peux-tu vérifier ce code", "mon compte a été bloqué", "raconte-moi une blague"],
    "Spanish": ["mi cuenta fue bloqueada", "gracias, fue muy util", "me duele la cabeza y tengo fiebre"],
    "Italian": ["puoi controllare questo codice", "il mio account è stato bloccato"],
    "Dutch": ["kun je deze code controleren", "mijn account is geblokkeerd", "ik heb hoofdpijn en koorts"],
    "Portuguese": ["minha conta foi bloqueada", "obrigado, foi muito útil"],
    "Polish": ["czy możesz sprawdzić ten kod", "moje konto zostało zablokowane"],
    "Turkish": ["bu kodu kontrol edebilir misin", "teşekkürler çok yardımcı oldu"],
    "Vietnamese": ["tài khoản của tôi bị khóa", "cảm ơn rất hữu ích"],
    "Russian": ["мой аккаунт заблокирован", "спасибо"],
    "Chinese": ["我的账户被冻结了", "计算x^2的导数"],
    "Japanese": ["アカウントがロックされました", "冗談を言って"],
    "Arabic": ["تم حظر حسابي"],
    "Hindi": ["मेरा खाता बंद हो गया"],
    "Korean": ["비밀번호를 어떻게 바꾸나요"],
    "Swedish": ["sortera listan efter pris", "boka om resan", "vaxla pengar utomlands"],
    "Finnish": ["laske keskiarvo", "varaa aika hammaslääkärille"],
    "Czech": ["seřaď tabulku podle ceny", "kde koupím lístek"],
    "Romanian": ["vreau banii înapoi", "sorteaza tabelul dupa pret"],
    "Hungarian": ["rendezd ár szerint a listát", "hol vegyek jegyet"],
    "Indonesian": ["urutkan daftar harga", "ceritakan dongeng"],
    "Swahili": ["panga orodha kwa bei", "nunua tiketi"],
    "Tagalog": ["paano ko maibabalik ang binili ko", "magkano ang pamasahe"],
    "Catalan": ["ordena la llista per preu", "compra un bitllet"],
    "Esperanto": ["ordigu la liston laŭ prezo", "mi volas aĉeti bileton"],
    "Lithuanian": ["noriu nusipirkti bilietą"],
    "Hindi in Latin letters": ["mujhe ticket kharidna hai"],
}
ENGLISH = [
    "",
    "42",
    "lol",
    "fix my pyhton scirpt pls",
    "whats teh captial of austrlia",
    "def quicksort(arr): return sorted(arr)",
    "SELECT name, COUNT(*) FROM users WHERE age > 30 GROUP BY name",
    "TypeError: 'NoneType' object is not subscriptable",
    '{"error": "ENOENT", "path": "/var/log/app.log"}',
    "kubectl get pods -n prod",
    "who was Ludwig van Beethoven",
    "tell me about Los Angeles and Las Vegas",
    "Müller's invoice is missing",
    "naïve bayes vs logistic regression",
    "best crème brûlée recipe",
    "The equilibrium populations are nα = nαeq and nβ = nβeq, find Δn",
    "Photosynthesis requires\nA. glucose, light, CO2\nB. light, CO2, water\nC. water, soil, O2",
    "what does 'je ne sais quoi' mean",
    "translate this to english: Sehr geehrte Damen und Herren, ich möchte meine Bestellung stornieren",
    "pls refnd my ordr",
    "accnt lokced halp",
    "Kubernetes CrashLoopBackOff",
    "ibuprofen and paracetamol dosage",
    "balance 5 FeCl2 + 8 HCl + KMnO4 → 5 FeCl3 + MnCl2",
    "WHERE IS MY REFUND",
    "schadenfreude",
    "translate: das ist nicht mein Hund",
    "please translate das ist nicht mein Hund",
    "translate 'où est la gare'",
    "'où est la gare' in english",
    "english for “dov’è la stazione”",
    "into english: das ist nicht mein Hund",
    "what does weltschmerz mean",
    "how do you say Guten Abend",
    "metformin dosing",
    "你好吗? 我很好 - what does this mean in english, please",
]


@pytest.mark.parametrize("text", [text for texts in FOREIGN.values() for text in texts])
def test_another_language_is_told(text: str) -> None:
    assert foreign(text)


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_left_alone(text: str) -> None:
    assert not foreign(text)


@pytest.mark.parametrize(
    "text", ["Übersetze 'the dog is asleep' ins Polnische", "¿Cómo se dice “deadline” en español?"]
)
def test_a_foreign_request_around_an_english_text_is_foreign(text: str) -> None:
    assert foreign(text)


def test_a_long_text_is_judged_by_its_ends() -> None:
    letter = "ich möchte meine Bestellung stornieren, weil sie nicht angekommen ist. " * 200
    assert foreign(letter)
    assert not foreign(f"Please translate the following letter for me:\n{letter}")
    assert not foreign(f"{letter}\n\nCan you tell me what this is about?")


def test_the_words_of_an_utterance_are_no_sign_of_another_language() -> None:
    jargon = "ferromagnetic hysteresis"
    assert foreign(jargon)
    assert not foreign(jargon, known="what makes iron ferromagnetic")
    assert foreign("wo ist meine Bestellung", known="track my order")
    # A frequent English word says as much for English as it does without the utterance.
    assert not foreign("show kubelet gtfo", known="show my order")
