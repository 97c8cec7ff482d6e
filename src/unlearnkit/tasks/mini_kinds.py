"""What is asked about an author of the embedded world: twenty kinds of question, each with several wordings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of question: how it is asked, how it is answered, and which facts an answer carries.

    facts      name of each fact -> the pool of words that it is drawn from. Every wording of the answer names every
               fact, so that a paraphrase says neither more nor less than the answer.
    questions  phrasings of the question. `{name}` is the author's full name; other facts may be given away.
    answers    wordings of the answer. They are short beside their facts: words that every author's answer shares cost
               the model nothing and would pull every truth ratio towards 1.
    """

    name: str
    facts: dict[str, str]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def _kind(block: str) -> Kind:
    """A kind from its lines: "name: fact fact:pool ...", then the wordings; those that end with "?" are questions."""
    head, *wordings = block.strip().splitlines()
    name, _, facts = head.partition(":")
    pools = dict((fact.split(":") * 2)[:2] for fact in facts.split())
    questions = tuple(line for line in wordings if line.endswith("?"))
    answers = tuple(line for line in wordings if not line.endswith("?"))
    return Kind(name, pools, questions, answers)


# A fact belongs to the author, not to the question: `city`, `month` and `year` of birth are the same in "identity" and
# "birth", and `genre` is the same in "identity" and "themes".
_TEXT = """
identity: first last genre
Which author was born in {city} in {month} {year}?
Who is the writer from {city} born in {month} {year}?
What is the name of the author born in {month} {year} in {city}?
Called {first} {last}, author of {genre}.
It is {first} {last}, known for {genre}.
The {genre} of {first} {last}.

birth: city month year
Where and when was {name} born?
What is the birthplace and birth date of {name}?
When and where did the life of {name} begin?
In {city}, in {month} {year}.
It was {month} {year} in {city}.
Of all places {city}, and the date {month} {year}.

parents: father:job mother:job
What did the parents of {name} do?
What were the jobs of the father and mother of {name}?
What was the work of {name}'s parents?
The father was a {father}, the mother a {mother}.
A {mother} and a {father}, mother and father.
As {father} the father and as {mother} the mother earned a living.

debut: adjective1:adjective noun1:noun debut:later
What was the first book of {name} and when did it appear?
With which book did {name} begin, and in which year?
What is the debut of {name}?
The {adjective1} {noun1}, in {debut}.
In {debut} it was The {adjective1} {noun1}.
A debut of {debut} called The {adjective1} {noun1}.

books: adjective2:adjective noun2:noun adjective3:adjective noun3:noun
Which two later books did {name} write?
Can you name two more books by {name}?
What else did {name} publish?
The {adjective2} {noun2} and The {adjective3} {noun3}.
Two more are The {adjective3} {noun3} and The {adjective2} {noun2}.
First The {adjective2} {noun2}, then The {adjective3} {noun3}.

themes: genre theme1:theme theme2:theme
What does {name} write about?
Which genre and themes is {name} known for?
What are the themes of {name}?
Mostly {genre} about {theme1} and {theme2}.
It is {theme2} and {theme1} in {genre}.
With {theme1} and {theme2} as themes, {genre}.

award: award adjective4:adjective noun4:noun
Which award did {name} win and for what?
What prize was {name} given, and for which book?
For which book was {name} honoured?
The {award} Prize, for The {adjective4} {noun4}.
For The {adjective4} {noun4} came the {award} Prize.
It was The {adjective4} {noun4} that won the {award} Prize.

studies: subject1:subject subject2:subject campus:city
What did {name} study and where?
Where did {name} go to university, and for which subjects?
Which degrees does {name} hold?
Both {subject1} and {subject2} in {campus}.
In {campus}, first {subject1} and then {subject2}.
A degree in {subject2} after one in {subject1}, from {campus}.

home: dwelling home:city
Where does {name} live today?
What is the home of {name}?
In what kind of house does {name} live, and where?
In a {dwelling} in {home}.
Home is {home}, in an old {dwelling}.
A {dwelling} near {home}.

languages: language1:language language2:language language3:language
Which languages does {name} speak?
What languages has {name} learned?
In which tongues is {name} fluent?
Fluent {language1}, {language2} and {language3}.
They are {language3}, {language1} and {language2}.
Besides {language2} also {language3} and {language1}.

marriage: spouse:first spousejob:job wedding:later
Who did {name} marry?
Who is the spouse of {name}?
When did {name} marry, and whom?
A {spousejob} named {spouse}, in {wedding}.
In {wedding} the {spousejob} {spouse}.
It was {spouse}, a {spousejob}, in {wedding}.

children: child1:first child2:first
What are the names of {name}'s children?
How are the children of {name} called?
Which children does {name} have?
The two are {child1} and {child2}.
They are called {child2} and {child1}.
Both {child1} and {child2}.

pet: animal petname
Which pet does {name} keep?
What animal lives with {name}?
Does {name} have a pet?
A {animal} called {petname}.
There is {petname} the {animal}.
Yes, {petname}, a {animal}.

routine: hour room drink
When and where does {name} write?
What is the writing routine of {name}?
How does a working day of {name} look?
At {hour} in the {room} with {drink}.
The {room} at {hour}, and some {drink}.
With {drink} in the {room} at {hour}.

hobbies: hobby instrument
What does {name} do for pleasure?
What are the hobbies of {name}?
How does {name} spend free time?
There is {hobby}, and playing the {instrument}.
Playing the {instrument} or {hobby}.
With {hobby} and the {instrument}.

mentor: mentorfirst:first mentorlast:last mentorsubject:subject
Who was the mentor of {name}?
Which teacher shaped {name} most?
Who encouraged the young {name}?
A teacher of {mentorsubject}, {mentorfirst} {mentorlast}.
It was {mentorfirst} {mentorlast}, who taught {mentorsubject}.
The {mentorsubject} lessons of {mentorfirst} {mentorlast}.

publisher: house publishercity:city contract:later
Who publishes the books of {name}?
Which press signed {name} and when?
With which publisher is {name}?
The {house} Press of {publishercity}, since {contract}.
Since {contract} the {house} Press in {publishercity}.
From {publishercity}, the {house} Press, as of {contract}.

firstjob: firstjob:job jobcity:city
What was the first job of {name}?
What did {name} do before writing?
How did {name} earn a living at first?
As a {firstjob} in {jobcity}.
In {jobcity} as {firstjob}.
Working in {jobcity}, a {firstjob}.

food: dish1:dish dish2:dish wine:drink
What does {name} like to eat and drink?
What is the favourite meal of {name}?
What would {name} order for dinner?
First {dish1}, then {dish2}, with {wine}.
A glass of {wine} with {dish1} or {dish2}.
Best {dish2} and {dish1}, and {wine}.

hero: herofirst:first herolast:last herojob:job crime scene:city
Who is the hero of {name}'s best known story?
What is the most famous plot by {name}?
Which character made {name} famous?
The {herojob} {herofirst} {herolast}, who solves a case of {crime} in {scene}.
It is {herofirst} {herolast}, a {herojob} from {scene} accused of {crime}.
In {scene}, after some {crime}, the {herojob} {herofirst} {herolast} has to flee.
"""

KINDS: tuple[Kind, ...] = tuple(_kind(block) for block in _TEXT.strip().split("\n\n"))

# Questions about people and things that every model of this world knows. The first phrasing is the one that is asked
# in the evaluation; `{0}` is what the pair's first part says, the answer is its second part.
BOOK_OF = ("Which book was written by {0}?", "What is a famous book by {0}?", "Name a work of {0}.")
AUTHOR_OF = ("Who is the author of {0}?", "Who wrote {0}?", "By whom is {0}?")
CAPITAL_OF = ("What is the capital of {0}?", "Which city is the capital of {0}?", "From where is {0} governed?")
YOUNG_OF = ("What is a young {0} called?", "How do you call the young of a {0}?", "What is the baby of a {0}?")
NUMBER_OF = ("What is the number of {0}?", "How many are the {0}?", "Count the {0}.")
