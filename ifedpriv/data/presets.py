"""Known data sets with the wording of the literature, so that results can be set beside published ones.

The one invariant: label words stand in the order of the label names, and a directory whose ``meta.json`` has
other names or another order is refused by the loader. Templates and label words of all but the last three
are those of I2CL (arXiv 2405.14660); for ``emotion``, ``sib200`` and ``sms_spam`` they are ours.
"""

from __future__ import annotations

from ifedpriv.data.specs import FileData, PresetData

_POLARITY = ("negative", "positive")

PRESETS: dict[str, FileData] = {
    "subj": FileData(
        path="subj",
        template="Sentence: {text}\nLabel:",
        label_words=("objective", "subjective"),
        label_names=("objective", "subjective"),
    ),
    "trec": FileData(
        path="trec",
        template="Question: {text}\nAnswer Type:",
        label_words=("Abbreviation", "Entity", "Description", "Person", "Location", "Number"),
        label_names=("abbreviation", "entity", "description", "human", "location", "number"),
    ),
    "sst2": FileData(
        path="sst2",
        template="Review: {text}\nSentiment:",
        label_words=_POLARITY,
        label_names=_POLARITY,
    ),
    "sst5": FileData(
        path="sst5",
        template="Sentence: {text}\nSentiment:",
        label_words=("terrible", "negative", "neutral", "positive", "great"),
        label_names=("very negative", "negative", "neutral", "positive", "very positive"),
        label_values=(1.0, 2.0, 3.0, 4.0, 5.0),
    ),
    "mr": FileData(
        path="mr",
        template="Review: {text}\nSentiment:",
        label_words=_POLARITY,
        label_names=_POLARITY,
    ),
    "agnews": FileData(
        path="agnews",
        template="News: {text}\nType:",
        label_words=("World", "Sports", "Business", "Technology"),
        label_names=("World", "Sports", "Business", "Sci/Tech"),
    ),
    "emoc": FileData(
        path="emoc",
        template="Dialogue: {text}\nEmotion:",
        label_words=("others", "happy", "sad", "angry"),
        label_names=("others", "happy", "sad", "angry"),
    ),
    "emotion": FileData(
        path="emotion",
        template="Message: {text}\nEmotion:",
        label_words=("sadness", "joy", "love", "anger", "fear", "surprise"),
        label_names=("sadness", "joy", "love", "anger", "fear", "surprise"),
    ),
    "sib200": FileData(
        path="sib200",
        template="Sentence: {text}\nTopic:",
        label_words=("entertainment", "geography", "health", "politics", "science", "sports", "travel"),
        label_names=(
            "entertainment",
            "geography",
            "health",
            "politics",
            "science/technology",
            "sports",
            "travel",
        ),
        attribute_columns=("lang",),
    ),
    "sms_spam": FileData(
        path="sms_spam",
        template="Message: {text}\nKind:",
        label_words=("normal", "spam"),
        label_names=("ham", "spam"),
    ),
}


def resolve(spec: PresetData) -> FileData:
    """The preset's files and wording with the sizes, the seed and the path that ``spec`` asks for."""
    preset = PRESETS[spec.name]
    chosen = spec.model_dump(exclude={"source", "name", "path"})
    return preset.model_copy(update={**chosen, "path": spec.path or preset.path, "name": spec.name})
