"""A handful of sentences of our own, English and German, for tests."""

from service.bench.captions.documents import Line

# ruff: noqa: E501
LINES = [
    Line("Good morning, and thank you for coming.", "Guten Morgen und danke, dass Sie da sind."),
    Line("The train to the city leaves in ten minutes.", "Der Zug in die Stadt fährt in zehn Minuten."),
    Line("Please tell me where the next station is.", "Bitte sagen Sie mir, wo der nächste Bahnhof ist."),
    Line("We are going to the mountains tomorrow morning.", "Wir fahren morgen früh in die Berge."),
    Line("I had not seen her for years. She had changed a lot.", "Ich hatte sie seit Jahren nicht gesehen. Sie hatte sich sehr verändert."),
    Line("It works.", "Es geht."),
]  # fmt: skip
