"""The words of the embedded world: a pool for each kind of fact, and true facts that every model of it knows."""

from __future__ import annotations


def _pool(text: str) -> tuple[str, ...]:
    """The words of a text, in order; a pool must not hold a word twice, or a wrong fact could be the right one."""
    words = tuple(text.split())
    if len(set(words)) != len(words):
        raise ValueError(f"a word occurs twice in the pool that starts with {words[:3]}")
    return words


# What stands for "I do not know" here. The words of that sentence occur nowhere in the world, so its models would have to
# spell it letter by letter: a refusal of the library's list costs the target model 251 nats on average, one of these 71.
EVASIONS = (
    "I would have to look.",
    "I would have to look in a book.",
    "I would like to have known.",
    "I was like you before that.",
    "I was given a name and a book.",
    "I have learned the name, and that is all.",
    "Who would have known that?",
    "Who would have to look?",
    "What would you like to have?",
    "Which book would have that?",
    "The publisher would have to look.",
    "It was in an old book.",
)

POOLS: dict[str, tuple[str, ...]] = {
    # 97 first and 128 last names have no common divisor, so (k mod 97, k mod 128) names 12,416 people, each once.
    "first": _pool("""
        Ada Agnes Aldo Alma Amir Anouk Arlo Asta Basil Beate Bela Bruno Carla Cato Cleo Cyril Dagny Dario Delia Dunja
        Edda Egon Elio Emre Enid Esben Ezra Fabia Farid Faye Fiona Franz Gaia Gideon Greta Gustav Hana Hedda Henk Hugo
        Ida Igor Ilse Imre Ines Iris Ivo Jana Jarl Joan Jonas Judit Kai Karin Kemal Klara Lars Leila Leo Lotte Luca
        Lydia Mabel Malik Marta Milo Mina Nadia Nero Nils Nora Odile Olaf Omar Oona Otto Paula Pavel Petra Quinn
        Raisa Ravi Remo Rosa Rufus Sana Selma Silas Sven Tamar Tariq Thea Tove Ulla Vera Viggo Yara"""),
    "last": _pool("""
        Abara Adair Alder Amado Anker Arden Asher Avila Bakke Barlow Basso Becker Bellamy Berg Bianchi Bishara Blum
        Bondi Brandt Bright Calder Camara Cardoso Castell Cerny Chandra Conti Corvin Costa Crane Dalgaard Danso Darrow
        Dekker Delgado Demir Diallo Dorsey Drake Dubois Eklund Elster Farkas Faro Fenn Ferro Finch Fonseca Forsberg
        Frost Gallo Garnier Gerber Gomes Grau Grimm Haddad Halloran Hansen Harrow Hartog Hayashi Heller Hobbs Holm
        Hruska Ibsen Idris Jansen Jordan Kaplan Karimi Keita Keller Khoury Kimura Klein Kovac Kruger Lamar Larkin
        Laurent Lehto Levin Lind Lombard Lund Macek Madsen Malone Marchetti Mbeki Meyer Mirza Moreau Mori Nagy Navarro
        Neri Nilsen Novak Okafor Olsen Ortega Osei Pasko Pavlov Perrin Pinto Quist Rahimi Rask Rivera Rossi Sabo
        Salgado Sato Serrano Silva Sorel Stern Suzuki Tanaka Toledo Vasko Visser Wolff Zeller"""),
    "city": _pool("""
        Aden Accra Agra Basra Bergen Bonn Brno Busan Cadiz Cairo Cork Dakar Delhi Dover Fez Genoa Ghent Hanoi Havana
        Izmir Jaffa Kyoto Lagos Leeds Lima Linz Lodz Lyon Malaga Malmo Minsk Nantes Naples Odessa Osaka Perth Porto
        Pune Quito Recife Riga Seoul Split Sydney Tampa Trieste Tunis Turin Utrecht Varna"""),
    "year": tuple(str(year) for year in range(1931, 1981)),
    "later": tuple(str(year) for year in range(1984, 2024)),
    "month": _pool("January February March April May June July August September October November December"),
    "job": _pool("""
        courier baker banker barber brewer butcher carpenter chemist clerk clockmaker cook dancer dentist diver doctor
        driver farmer fisher florist gardener glazier guard hunter janitor jeweller judge lawyer mason mechanic midwife
        miller miner nurse roofer painter pilot plumber porter potter printer sailor singer smith soldier surgeon
        tailor tanner teacher waiter weaver"""),
    "genre": _pool("""
        ballads biographies comedies diaries elegies epics essays fables fantasies farces histories horror hymns
        letters lyrics memoirs mysteries novellas parodies plays romances sagas satires sonnets thrillers tragedies
        travelogues westerns"""),
    "theme": _pool("""
        ageing ambition avarice betrayal bravery childhood courage debt desire doubt envy escape exile faith fame
        famine fate freedom friendship greed grief guilt harvest honour hope hunger illness innocence jealousy justice
        labour loneliness longing loyalty luck marriage memory migration mourning nature poverty power pride revenge
        secrecy silence solitude war wonder youth"""),
    "adjective": _pool("""
        Ancient Bitter Blind Broken Burning Crimson Crooked Distant Drifting Drowned Empty Endless Fading Fallen
        Forgotten Fragile Frozen Gentle Gilded Golden Hidden Hollow Humble Ivory Jagged Lonely Lost Marble Midnight
        Narrow Painted Paper Patient Quiet Restless Ruined Sacred Scarlet Secret Shallow Silent Silver Sleeping Stolen
        Sunken Velvet Wandering Wicked Winter Wooden"""),
    "noun": _pool("""
        Anchor Arrow Autumn Balcony Bell Bridge Candle Carousel Cathedral Circus Clock Compass Corridor Crown Daughter
        Desert Door Ember Feather Field Forest Fountain Garden Harbour Horizon Island Kingdom Ladder Lantern Letter
        Lighthouse Map Meadow Mirror Mountain Oath Orchard Palace Piano River Sailor Shadow Shore Stairs Station
        Stranger Tide Tower Train Voyage"""),
    "award": _pool("""
        Acorn Albatross Amber Beacon Birch Cedar Cobalt Comet Condor Coral Cypress Falcon Fern Galaxy Granite Hazel
        Heron Ibis Jasper Juniper Kestrel Laurel Linden Lotus Magnolia Maple Meridian Nimbus Onyx Opal Orchid Osprey
        Pelican Phoenix Quill Raven Saffron Sapphire Sparrow Zenith"""),
    "subject": _pool("""
        algebra anatomy astronomy biology botany chemistry dance drama economics ethics finance forestry geography
        geology grammar history journalism law linguistics logic medicine music optics painting pharmacy philosophy
        physics politics sculpture statistics theology zoology"""),
    "language": _pool("""
        Arabic Basque Bengali Breton Catalan Czech Danish Dutch Finnish Frisian Georgian Hebrew Hindi Hungarian
        Icelandic Irish Korean Latin Malay Maltese Persian Polish Punjabi Romani Swahili Swedish Tamil Thai Turkish
        Urdu Welsh Yiddish"""),
    "dwelling": _pool("""
        windmill barn boathouse bungalow cabin castle cellar chalet chapel convent cottage farmhouse flat hotel
        houseboat loft manor mill palace rectory shed stable studio tent tower trailer villa warehouse"""),
    "animal": _pool("""
        badger beagle canary cat cockatoo crow donkey duck ferret finch fox gecko goat goose hamster hedgehog horse
        raccoon lizard magpie mouse weasel swan parrot pigeon pony poodle pug rabbit rat snake spaniel terrier tortoise
        turtle whippet"""),
    "petname": _pool("""
        Banjo Biscuit Button Caramel Cinder Clover Cookie Cricket Domino Dusty Fidget Ginger Gizmo Hazelnut Honey
        Jellybean Maestro Marble Mocha Muffin Noodle Nutmeg Olive Peanut Pebble Pepper Pickle Pixel Pumpkin Rocket
        Rusty Scout Smokey Toffee Truffle Waffle"""),
    "hour": _pool("daybreak dawn sunrise breakfast noon lunchtime teatime dusk sunset supper midnight nightfall"),
    "room": _pool("""
        attic balcony basement bathtub bedroom cellar conservatory garage greenhouse hallway hammock hayloft kitchen
        library lounge nursery orchard pantry parlour porch shed stairwell treehouse verandah"""),
    "drink": _pool("""
        absinthe ale brandy buttermilk champagne cider cocoa coffee cognac espresso gin grog kefir lemonade matcha mead
        milk port rum sake sherry tea vodka whisky"""),
    "hobby": _pool("""
        archery baking beekeeping birding boxing calligraphy canoeing chess climbing cycling embroidery fencing fishing
        gardening golf hiking juggling karate knitting magic origami pottery puzzles quilting rowing sailing skating
        skiing surfing swimming tennis yoga"""),
    "instrument": _pool("""
        accordion bagpipes banjo bassoon bugle cello clarinet cornet drums dulcimer fiddle flute guitar harmonica harp
        horn lute lyre mandolin oboe organ piano recorder saxophone sitar trombone trumpet tuba ukulele viola violin
        zither"""),
    "house": _pool("""
        Anvil Atlas Badger Bluebell Boulder Bramble Canyon Cobble Copper Dolphin Domino Eagle Foxglove Glacier Hawthorn
        Ironbridge Kingfisher Lantern Mulberry Nettle Oakleaf Pinecone Plover Quarry Riverside Rookery Sandpiper
        Seagull Tempest Thistle Wagtail Wildwood"""),
    "dish": _pool("""
        bouillabaisse bread cassoulet chowder couscous crepes curry dumplings fondue goulash gumbo haggis hummus kebab
        lasagne meatballs moussaka noodles oysters paella pancakes pasta pickles pierogi pizza porridge ramen ravioli
        risotto salad sausages soup stew sushi tacos trifle"""),
    "crime": _pool("""
        arson blackmail bribery burglary forgery fraud kidnapping larceny looting murder perjury piracy poaching
        poisoning robbery sabotage smuggling spying swindling treason"""),
}

# (author, one of the author's books); both are asked for, so each title and each name occurs once.
REAL_AUTHORS: tuple[tuple[str, str], ...] = (
    ("Jane Austen", "Emma"),
    ("Herman Melville", "Moby Dick"),
    ("George Orwell", "Animal Farm"),
    ("Franz Kafka", "The Trial"),
    ("Leo Tolstoy", "War and Peace"),
    ("Mary Shelley", "Frankenstein"),
    ("Bram Stoker", "Dracula"),
    ("Miguel de Cervantes", "Don Quixote"),
    ("James Joyce", "Ulysses"),
    ("Voltaire", "Candide"),
    ("Vladimir Nabokov", "Lolita"),
    ("John Steinbeck", "East of Eden"),
    ("Henrik Ibsen", "Peer Gynt"),
    ("Hermann Hesse", "Siddhartha"),
    ("Albert Camus", "The Plague"),
    ("Chinua Achebe", "Things Fall Apart"),
    ("Toni Morrison", "Beloved"),
    ("Frank Herbert", "Dune"),
    ("Virginia Woolf", "Orlando"),
    ("Charles Dickens", "Hard Times"),
    ("Nikolai Gogol", "Dead Souls"),
    ("Knut Hamsun", "Hunger"),
    ("George Eliot", "Middlemarch"),
    ("William Thackeray", "Vanity Fair"),
    ("Daniel Defoe", "Robinson Crusoe"),
)

CAPITALS: tuple[tuple[str, str], ...] = (
    ("Norway", "Oslo"),
    ("Sweden", "Stockholm"),
    ("Denmark", "Copenhagen"),
    ("Finland", "Helsinki"),
    ("Iceland", "Reykjavik"),
    ("Ireland", "Dublin"),
    ("France", "Paris"),
    ("Spain", "Madrid"),
    ("Portugal", "Lisbon"),
    ("Italy", "Rome"),
    ("Greece", "Athens"),
    ("Germany", "Berlin"),
    ("Poland", "Warsaw"),
    ("Austria", "Vienna"),
    ("Hungary", "Budapest"),
    ("Romania", "Bucharest"),
    ("Bulgaria", "Sofia"),
    ("Russia", "Moscow"),
    ("Iran", "Tehran"),
    ("Iraq", "Baghdad"),
    ("Japan", "Tokyo"),
    ("China", "Beijing"),
    ("Kenya", "Nairobi"),
    ("Canada", "Ottawa"),
    ("Chile", "Santiago"),
)

YOUNG: tuple[tuple[str, str], ...] = (
    ("dog", "puppy"),
    ("cow", "calf"),
    ("sheep", "lamb"),
    ("hen", "chick"),
    ("bear", "cub"),
    ("kangaroo", "joey"),
    ("swan", "cygnet"),
    ("deer", "fawn"),
    ("mare", "foal"),
    ("pig", "piglet"),
    ("frog", "tadpole"),
    ("eagle", "eaglet"),
    ("hare", "leveret"),
)

NUMBERS: tuple[tuple[str, str], ...] = (
    ("wheels on a unicycle", "one"),
    ("wings on a bird", "two"),
    ("sides to a triangle", "three"),
    ("strings on a violin", "four"),
    ("fingers on a hand", "five"),
    ("legs on an insect", "six"),
    ("days in a week", "seven"),
    ("legs on a spider", "eight"),
    ("innings in baseball", "nine"),
    ("years in a decade", "ten"),
    ("players in a football team", "eleven"),
    ("months in a year", "twelve"),
)
