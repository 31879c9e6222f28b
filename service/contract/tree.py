"""The bodies of the replies about the tree of semantic IDs, and of the meaning of its nodes."""

from typing import Annotated

from pydantic import BaseModel, Field

from rqrec.service.contract.fields import Code

Share = Annotated[float, Field(gt=0, le=1)]


class AttributeShare(BaseModel):
    """A value of an attribute, and the share of the items that have it."""

    name: str = Field(examples=["genres"])
    value: str = Field(description="The value as text.", examples=["Comedy"])
    share: Share


class Meaning(BaseModel):
    """What the items below a prefix had in common when the model was published; empty lists if nothing is known."""

    attributes: list[AttributeShare] = Field(description="The commonest attribute values, at most 5, commonest first.")
    words: list[str] = Field(description="The most telling words of the items' texts (tf-idf), at most 5.")


class CodeBelow(BaseModel):
    """A code that follows a prefix, and the items below it."""

    code: Code
    num_items: int = Field(ge=1)
    meaning: Meaning


class TreeNode(BaseModel):
    """A node of the tree of semantic IDs: a prefix, the items below it, and the codes that follow it."""

    model_version: str
    prefix: list[Code]
    num_items: int = Field(ge=0, description="Number of items below the prefix now, written ones included.")
    meaning: Meaning
    children: list[CodeBelow] = Field(description="In the order of the codes; empty after the last code.")
