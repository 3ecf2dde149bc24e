"""Sound marks of captions, "[applause]" or "(inaudible)": the word for each in each language.

A model only guesses at single words in brackets, and its output for "(inaudible)" can be a slur.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

import regex

from tokenspeed.text.spans import Span

LANGUAGES: Final = ("en", "de", "fr", "es")
# A comma separates words of the same meaning; the first one is written.
_SOUNDS: Final = tuple(
    tuple(tuple(cell.split(",")) for cell in line.split("|"))
    for line in """
applause,applauding,clapping|Applaus,Beifall,klatscht|applaudissements|aplausos,aplauso
laughter,laughing|Gelächter,Lachen|rires,rire|risas,risa
laughs,chuckles,chuckling|lacht,kichert|rit|se ríe,ríe
music,music playing,♪|Musik|musique|música
upbeat music|fröhliche Musik|musique entraînante|música alegre
inaudible|unverständlich,unhörbar|inaudible|inaudible
unintelligible,indistinct|undeutlich,unverständlich|incompréhensible,indistinct|ininteligible
crosstalk,overlapping speech|Stimmengewirr|voix superposées|voces superpuestas
silence|Stille|silence|silencio
pause,long pause|Pause|pause|pausa
cough,coughing|Husten|toux|tos
coughs,clears throat|hustet,räuspert sich|tousse,se racle la gorge|tose,carraspea
sighs,sigh|seufzt,Seufzen|soupire,soupir|suspira,suspiro
gasps,gasp|keucht|halète|jadea
crying,cries,sobs,sobbing|weint,Weinen,schluchzt|pleure,pleurs,sanglote|llora,llanto,solloza
sneezes|niest|éternue|estornuda
sniffles|schnieft|renifle|se sorbe la nariz
yawns|gähnt|bâille|bosteza
whistles,whistling|pfeift,Pfeifen|siffle,sifflement|silba,silbido
screams,screaming|schreit,Schreie|crie,cris|grita,gritos
shouting,shouts|Rufe,ruft|cris,crie|gritos,grita
whispers,whispering|flüstert,Flüstern|chuchote,chuchotements|susurra,susurros
cheering,cheers,cheers and applause|Jubel|acclamations|vítores
booing,boos|Buhrufe|huées|abucheos
singing,sings|singt,Gesang|chante,chant|canta,canto
humming|summt|fredonne|tararea
groans|stöhnt|gémit|gime
background noise,noise|Hintergrundgeräusche,Lärm|bruit de fond,bruit|ruido de fondo,ruido
static|Rauschen|grésillements|interferencias
beep,beeping|Piepton,Piepen|bip|pitido
bell rings,bell ringing|Glocke läutet|la cloche sonne|suena la campana
phone ringing,phone rings|Telefon klingelt|le téléphone sonne|suena el teléfono
doorbell rings|es klingelt an der Tür|on sonne à la porte|suena el timbre
door opens|Tür geht auf|une porte s'ouvre|se abre una puerta
door closes,door slams|Tür geht zu|une porte se ferme|se cierra una puerta
knocking,knocks,knocking on door|es klopft,Klopfen|on frappe à la porte|llaman a la puerta
footsteps|Schritte|bruits de pas|pasos
dog barking,dog barks,barking|Hund bellt|un chien aboie|ladra un perro
birds chirping|Vögel zwitschern|chants d'oiseaux|canto de pájaros
thunder|Donner|tonnerre|truenos
wind|Wind|vent|viento
gunshot,gunshots|Schuss,Schüsse|coup de feu|disparo
explosion|Explosion|explosion|explosión
siren,sirens,siren wailing,sirens wailing|Sirene,Sirenen|sirène|sirena
engine starts|Motor springt an|un moteur démarre|arranca un motor
foreign language,speaking foreign language|Fremdsprache|langue étrangère|idioma extranjero
no audio|kein Ton|pas de son|sin audio
technical difficulties|technische Störung|problème technique|problemas técnicos
end of recording|Ende der Aufnahme|fin de l'enregistrement|fin de la grabación
sound,sound effect|Geräusch|bruitage|sonido
speaker,speaker unknown|Sprecher|locuteur|hablante
audience,from audience|Publikum|public|público
dramatic music|dramatische Musik|musique dramatique|música dramática
soft music,gentle music|leise Musik|musique douce|música suave
sad music,somber music|traurige Musik|musique triste|música triste
tense music,suspenseful music|spannende Musik|musique angoissante|música de suspense
theme music,theme song|Titelmusik|générique|música de cabecera
music stops,music ends|Musik endet|la musique s'arrête|termina la música
indistinct chatter,chatter,chattering|undeutliches Stimmengewirr|brouhaha|murmullo
door creaks,door creaking,creaking|Tür knarrt|une porte grince|chirría una puerta
glass breaks,glass shatters,glass breaking|Glas zerbricht|du verre se brise|se rompe un cristal
horn honks,honking,car horn|es hupt|klaxon|bocinazo
tires screech,tires squealing|Reifen quietschen|crissement de pneus|chirrían los neumáticos
engine revving|Motor heult auf|un moteur rugit|ruge un motor
rain,rain falling|Regen|pluie|lluvia
baby crying,baby cries|Baby weint|un bébé pleure|llora un bebé
snoring,snores|schnarcht,Schnarchen|ronfle,ronflements|ronca,ronquidos
panting,breathing heavily|atmet schwer,keucht|respire fort|respira con dificultad
grunts,grunting|grunzt|grogne|gruñe
scoffs|schnaubt|ricane|resopla
giggles,giggling|kichert|glousse|suelta una risita
mutters,muttering|murmelt|marmonne|murmura
man|Mann|homme|hombre
woman|Frau|femme|mujer
boy|Junge|garçon|niño
girl|Mädchen|fille|niña
all,together|alle|tous|todos
both|beide|tous deux|ambos
narrator|Erzähler|narrateur|narrador
in english,speaking english|auf Englisch|en anglais|en inglés
in german,speaking german|auf Deutsch|en allemand|en alemán
in french,speaking french|auf Französisch|en français|en francés
in spanish,speaking spanish|auf Spanisch|en espagnol|en español
""".strip().splitlines()
)
_MARK: Final = regex.compile(
    r"(?<opening>[\[(*♪])\s*+(?<sound>[\p{L}♪][^\[\]()*♪\n]{0,60}+)(?<closing>[\])*♪])"
)
_TIMED: Final = regex.compile(
    r"(.*\p{L}),? (?:\d\d?:)?\d\d?:\d\d(?:[.,]\d+)?"
)  # "[inaudible 1:23]"
_PAIRS: Final = {"[": "]", "(": ")", "*": "*", "♪": "♪"}


def find_sounds(text: str, source: str | None, target: str) -> Iterator[Span]:
    """Return the sound marks of a text that have a word in the target language.

    Args:
        source: a language; None if unknown.
    """
    if not any(sign in text for sign in "[(*♪"):
        return
    for match in _MARK.finditer(text):
        said = match["sound"].strip()
        if match["closing"] != _PAIRS[match["opening"]]:
            continue
        timed = _TIMED.fullmatch(said)
        said = timed[1] if timed else said
        found = sound_in(said, source, target)
        if found is not None:
            yield Span(*match.span(), "picture", match[0].replace(said, found))


def sound_in(said: str, source: str | None, target: str) -> str | None:
    """Return the word for a sound in another language, in the case of the given one; else None."""
    known = _words_to(target)  # a mark that was translated on its way is in English
    found = known.get((source, said.casefold())) or known.get((None, said.casefold()))
    if found is None:
        return None
    if said.isupper():
        return found.upper()
    if said[0].isupper() and source != "de":  # where nouns have capitals in any case
        return found[0].upper() + found[1:]
    return found


@cache
def _words_to(target: str) -> dict[tuple[str | None, str], str]:
    if target not in LANGUAGES:
        return {}
    at = LANGUAGES.index(target)
    words: dict[tuple[str | None, str], str] = {}
    for row in _SOUNDS:
        for language, cell in zip(LANGUAGES, row, strict=True):
            for word in cell:
                for source in (language, None):
                    words.setdefault((source, word.casefold()), row[at][0])
    return words
