"""Names of people from many places, for made-up users that look like real ones."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

from dbctl.errors import Invalid

# Letters that have no decomposition to strip an accent from.
_SPELLED = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "đ": "d", "æ": "ae", "ı": "i", "þ": "th", "ð": "d"})  # noqa: RUF001


def plain(name: str) -> str:
    """``name`` in lower-case ASCII letters, as a username holds it."""
    spelled = unicodedata.normalize("NFKD", name.lower().translate(_SPELLED))
    return "".join(letter for letter in spelled if "a" <= letter <= "z")


_FIRST = """
Ada Adam Agnes Aiko Aisha Alan Albert Alejandro Alice Amara Amélie Amina Amir Ana Anders Andrea Anika Anna Antonio
Anya Ariel Arjun Arthur Asha Astrid Aya Ayşe Barbara Beatriz Ben Björn Bruno Camila Carlos Carmen Cecilia Chen Chiara
Chloé Claire Clara Daniel Daria David Deepa Diego Dmitri Edith Elena Elif Elisa Emil Emma Emre Erik Esther Eva Fatima
Felix Finn Florence Francesca Frida Gabriel George Giulia Grace Greta Guillermo Hana Hannah Hans Harriet Hassan Helena
Hugo Ibrahim Ida Ines Ingrid Irina Isaac Isabel Ivan Jakub James Jan Jana Javier Jin Joana João Jonas José Judith Julia
Kamala Karim Katarzyna Kate Keiko Kenji Khadija Klaus Kofi Lars Laura Leila Leo Lina Linh Lisa Luca Lucía Luis Łukasz
Mads Maja Malik Margaret Maria Marie Mario Markus Marta Mary Mateo Matilda Maya Mehmet Mei Mia Miguel Mikael Mina Mira
Mohamed Nadia Naomi Nia Nicolás Nikolai Nina Noah Noor Olga Oliver Olivia Omar Oscar Pablo Paola Patrick Paul Paula
Pedro Petra Philip Priya Rachel Rafael Rahul Raj Rania Ravi Renée Rita Robert Rosa Ruth Saleh Samuel Sana Sara Selma
Siddharth Simone Sofia Søren Stefan Stella Sven Tadeo Tamara Tariq Teresa Thandi Theo Thomas Tomás Ulla Uma Valentina
Vera Victor Viktoria Wangari Wei William Xavier Yara Yasmin Yuki Yusuf Zadie Zainab Zofia Zoë Zuri
"""
_LAST = """
Abbott Achebe Adeyemi Ahmed Ali Almeida Álvarez Andersen Anderson Aoki Arslan Bach Bailey Baker Banerjee Barbieri Barros
Bauer Becker Bell Bennett Berg Bernard Bianchi Björk Blanc Bondarenko Brandt Braun Brown Bruno Campbell Cardoso Carter
Castro Chandra Chen Christensen Clark Cohen Colombo Conti Cooper Costa Cruz Dahl Davies Delgado Demir Diallo Díaz Dubois
Duarte Dupont Edwards Ekström Evans Fernández Ferrari Fischer Fontaine Foster Fournier Franco Fuchs Fujita García
Gauthier Ghosh Gómez González Gordon Graham Gray Green Greco Gupta Haas Hall Hansen Harris Hassan Hayashi Hernández
Hoffmann Holm Horvat Huang Hughes Hussein Ibrahim Ito Ivanova Jackson Jansen Jensen Johansson Johnson Jones Jovanović
Kaya Keller Kelly Khan Kim King Klein Kobayashi Kovács Kowalski Krüger Kumar Lambert Lange Larsson Laurent Lee Lefebvre
Lehmann León Lewis Li Lin Lindberg Lombardi López Lovelace Ma Macdonald Mahfouz Mancini Marino Martin Martínez Mbeki
Meier Mendes Mensah Meyer Mishra Mitchell Moore Morales Moreau Moreno Morgan Moretti Müller Murphy Mwangi Nakamura
Navarro Ndiaye Nguyen Nielsen Nilsson Novák Nowak Núñez Okafor Okonkwo Olsen Ortega Ortiz Osei Özdemir Park Parker Patel
Pavlov Pereira Pérez Petersen Petrov Phillips Popescu Powell Quinn Ramírez Ramos Rao Reddy Reyes Ribeiro Ricci Richter
Rivera Roberts Robinson Rodríguez Romano Rossi Roux Roy Ruiz Russo Saito Sánchez Santos Sato Schmidt Schneider Schulz
Sharma Silva Simon Singh Smith Sokolov Sørensen Stewart Suzuki Svensson Takahashi Tan Tanaka Taylor Thomas Thompson
Torres Tran Turner Vargas Vasquez Vega Virtanen Vogel Wagner Walker Wang Watanabe Watson Weber White Williams Wilson
Wójcik Wolf Wong Wood Wright Wu Yamamoto Yang Yılmaz Young Zhang Zhou Zimmermann
"""  # noqa: RUF001 - the Turkish one, on purpose

# By locale: first names, last names. A name in another script has its Latin spelling behind a colon.
_LOCALES = {
    "mixed": (_FIRST, _LAST),
    "de": (
        """
Anna Bernd Christa Dieter Elke Friedrich Gisela Hans Heike Ingrid Jürgen Karin Klaus Lena Lukas Maximilian
Monika Margarete Otto Petra Ralf Renate Sabine Sebastian Silke Stefan Ursula Uwe Walter Wolfgang
""",
        """
Bauer Becker Braun Fischer Fuchs Groß Hartmann Hoffmann Jäger Kaiser Klein Koch König Krause Krüger Lange
Lehmann Maier Meyer Möller Müller Neumann Richter Schäfer Schmidt Schneider Schröder Schulz Vogel Weiß
""",
    ),
    "en": (
        """
Abigail Alfred Amelia Arthur Charlotte Chloe Daniel Edward Eleanor Emily Florence George Grace Harry Hannah
Isabella Jack Jessica Liam Lily Mason Megan Nathan Olivia Oscar Poppy Ruby Samuel Sophie William
""",
        """
Adams Baker Bennett Brooks Carter Clark Cooper Davies Edwards Evans Foster Gray Green Hall Harris Hughes
Johnson Kelly Lewis Martin Miller Morgan Parker Roberts Smith Taylor Turner Walker Wilson Wright
""",
    ),
    "es": (
        """
Alejandro Álvaro Beatriz Carmen Cristina Diego Dolores Elena Fernando Francisca Gonzalo Íñigo Isabel Javier
José Juan Laura Lucía Luis Manuel Marta Miguel Nuria Pablo Pilar Rafael Rocío Sergio Sofía Teresa
""",
        """
Alonso Álvarez Blanco Castro Delgado Díaz Domínguez Fernández García Gil Gómez González Gutiérrez Hernández
Jiménez López Martín Martínez Moreno Muñoz Navarro Núñez Ortega Pérez Ramírez Rodríguez Romero Ruiz Sánchez Torres
""",
    ),
    "fr": (
        """
Adèle Alain Amélie Antoine Aurélie Bénédicte Camille Chloé Claire Denis Élise Étienne François Gaël Hélène
Inès Jérôme Julien Léa Louis Lucie Manon Mathieu Noémie Olivier Pascal Rémi Sophie Théo Zoé
""",
        """
Bernard Bertrand Blanc Bonnet Boyer Chevalier Clément David Dubois Dupont Durand Faure Fournier François Garnier
Gauthier Girard Guérin Lambert Lefèvre Legrand Leroy Martin Mercier Moreau Morel Petit Richard Robert Rousseau
""",
    ),
    "ja": (
        """
愛:ai 明:akira 彩:aya 大輔:daisuke 恵美:emi 春菜:haruna 陽菜:hina 博:hiroshi 樹:itsuki 純:jun 一輝:kazuki 健:ken
舞:mai 真央:mao 美咲:misaki 直樹:naoki 蓮:ren 涼太:ryota 桜:sakura 翔:sho 空:sora 拓也:takuya 翼:tsubasa 結衣:yui
""",
        """
安部:abe 藤田:fujita 長谷川:hasegawa 林:hayashi 石川:ishikawa 伊藤:ito 加藤:kato 木村:kimura 小林:kobayashi
松本:matsumoto 森:mori 中村:nakamura 西村:nishimura 岡田:okada 斎藤:saito 佐々木:sasaki 佐藤:sato 清水:shimizu
鈴木:suzuki 高橋:takahashi 田中:tanaka 渡辺:watanabe 山田:yamada 山本:yamamoto
""",
    ),
}
_FAMILY_FIRST = frozenset(("ja",))


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one locale, each as it is shown and as a username holds it; ``full`` puts them together."""

    first: tuple[tuple[str, str], ...]
    last: tuple[tuple[str, str], ...]
    full: str


LOCALES = tuple(_LOCALES)


@cache
def names_of(locale: str) -> Names:
    """The names of a locale. Raises Invalid."""
    if locale not in _LOCALES:
        raise Invalid("locale", f"there is no {locale!r}", hint=f"there are {', '.join(LOCALES)}")
    first, last = (tuple(_spelled(name) for name in names.split()) for names in _LOCALES[locale])
    return Names(first, last, "{last} {first}" if locale in _FAMILY_FIRST else "{first} {last}")


def _spelled(name: str) -> tuple[str, str]:
    shown, _, latin = name.partition(":")
    return shown, latin or plain(shown)
