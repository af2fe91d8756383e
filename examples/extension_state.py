"""Store data of your application on a branch. Going back to an earlier entry brings back the data of that time.

Needs only convtree, no extra.
"""

from convtree import ExtensionDataEntry, Session


def main() -> None:
    session = Session.memory()
    session.append({"role": "user", "content": "Pack for me."})
    packed = session.append(ExtensionDataEntry(ext_type="packing.list", data=["shoes"]))
    session.append({"role": "assistant", "content": "Shoes it is."})
    session.append(ExtensionDataEntry(ext_type="packing.list", data=["shoes", "hat"]))
    print(session.state("packing.list"))

    session.branch(packed.id)  # going back also restores the state
    print(session.state("packing.list"))
    print(session.state("packing.weight", default=0))
    print(len(session.build_context().messages), "message: a model never sees this data")


if __name__ == "__main__":
    main()
