"""The sentences about a release that its card and its Croissant file share: where it comes from, whom it may concern,
what it is for and what it is not. Each is true of every run, or follows from the facts; none calls a set anonymous.
"""

from __future__ import annotations

from synthgen.report.release_facts import ReleaseFacts

MARK = "made with synthgen"
"""Stands in every document of a release, which may replace one that has it and no other file."""


def summary(facts: ReleaseFacts) -> str:
    """One paragraph: what the set is."""
    own = f"{facts.config.card.description.strip()}\n\n" if facts.config.card.description.strip() else ""
    if not facts.config.generate.paints:
        what = "a real image dataset in which people were redacted by classic methods"
    elif facts.whole:
        what = "a synthetic replacement of a real image dataset: every image was generated anew"
    else:
        what = "a real image dataset in which people were replaced by generated ones; the background is real"
    labels = "labels, sizes and folders are the source's" if facts.classes or facts.tasks else "sizes are the source's"
    return f"{own}This is {what}; {labels}. It was {MARK}."


def digital_source(facts: ReleaseFacts) -> str:
    """The term of IPTC's vocabulary of digital source types for these images."""
    if not facts.config.generate.paints:
        return "algorithmicallyEnhanced"
    return "trainedAlgorithmicMedia" if facts.whole else "compositeWithTrainedAlgorithmicMedia"


def marking(facts: ReleaseFacts) -> str:
    """Art. 50 of the EU AI Act: say that it is artificial."""
    kind = {
        "trainedAlgorithmicMedia": "All images of this set are artificially generated.",
        "compositeWithTrainedAlgorithmicMedia": "All images of this set are artificially manipulated: people in them "
        "are generated.",
        "algorithmicallyEnhanced": "All images of this set are altered by an algorithm; none is generated.",
    }[digital_source(facts)]
    return (
        f"{kind} Their digital source type (IPTC) is `{digital_source(facts)}`, which the Croissant file beside this "
        "card says in machine-readable form. Keep both with the images, and pass the statement on with every copy "
        "(Regulation (EU) 2024/1689, Art. 50)."
    )


def collection(facts: ReleaseFacts) -> str:
    """How the data came to be."""
    steps = "; ".join(f"{what}: {how}" for what, how in facts.made)
    return f"Derived from real images by a generative pipeline ({steps}). The source is not part of this release."


def annotation(facts: ReleaseFacts) -> str:
    """Where the labels come from."""
    if not facts.tasks:
        return "There are no labels."
    text = "Labels were carried over from the source, where they described the real image"
    kept = "files and names are the source's" if facts.config.names == "keep" else "names in them were rewritten"
    return f"{text}; {kept}. Whether each output shows what its label says: see what was measured."


def personal_information(facts: ReleaseFacts) -> str:
    """Whom the release may still concern."""
    text = (
        "The source may show real people, number plates and readable text. Detectors miss some; who was not detected "
        "was not protected. "
    )
    text += (
        "No pixel of the source is in the images"
        if facts.whole
        else "Pixels outside the detected regions are the source's"
    )
    text += (
        ", and the layout of every scene is kept, so someone who has the source or knows the place can match the two."
    )
    if facts.config.names == "keep":
        text += " File names are the source's and may tell where and when it was taken."
    return text


def biases(facts: ReleaseFacts) -> str:
    """What is known of whom it shows and how."""
    text = (
        "The set has the biases of its source (what was photographed, where and when) and those of the generating "
        "models, which may change perceived skin tone, age and gender."
    )
    rejected = sum(facts.quarantined.values())
    if rejected:
        planned = facts.accepted + rejected
        text += f" {rejected} of {planned} outputs were rejected; whom that hit is for the bias report to tell."
    return text


def limitations(facts: ReleaseFacts) -> list[str]:
    """What it is not."""
    found = [
        "No statement of anonymity is made. What was attacked, how often it succeeded and the bound are in the report "
        "of the run, or were not measured.",
    ]
    if facts.config.generate.paints:
        found += [
            "Detail finer than the generator's size is not there, and small objects may be lost while their labels "
            "stay.",
            "Text, number plates and faces in the images are invented: nothing can be concluded from them.",
        ]
    return found


def uses(facts: ReleaseFacts) -> list[str]:
    """What it is for, and what it must not be used for."""
    tasks = ", ".join(task.replace("-", " ") for task in facts.tasks) or "computer vision"
    return [
        f"Training and testing of models for {tasks} where the real images may not be used or passed on.",
        "Not for identifying anyone, for attempts to reconstruct the source, or as evidence of any event.",
        "Test on real images before use: a model trained on synthetic images can trust their quirks.",
    ]
