"""Names of people from many places, for made-up users that look like real ones."""

from __future__ import annotations

import unicodedata

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

FIRST_NAMES = tuple((name, plain(name)) for name in _FIRST.split())
LAST_NAMES = tuple((name, plain(name)) for name in _LAST.split())
