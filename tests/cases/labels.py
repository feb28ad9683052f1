"""Class names as people have them: a file's name and bytes, and the names in class order or the refusal."""

from __future__ import annotations

import codecs
import json
from typing import NamedTuple

#: A label without WordNet id, or (id, name).
Name = str | tuple[str, str]

ANIMALS = ("cat", "dog", "bird")
CHINESE = ("虎斑猫", "金毛寻回犬", "丹顶鹤")
TENCH = ("n01440764", "tench, Tinca tinca")
GOLDFISH = ("n01443537", "goldfish")


class LabelCase(NamedTuple):
    """One file of class names."""

    name: str
    file: str
    content: bytes
    #: In class order; empty where the file is refused.
    labels: tuple[Name, ...] = ()
    #: A regular expression that the refusal contains.
    refusal: str = ""
    #: What the line about it contains besides the count.
    form: str = ""


def taken(name: str, file: str, content: str | bytes, *labels: Name, form: str = "") -> LabelCase:
    return LabelCase(name, file, content if isinstance(content, bytes) else content.encode(), labels, form=form)


def refused(name: str, file: str, content: str | bytes, refusal: str) -> LabelCase:
    return LabelCase(name, file, content if isinstance(content, bytes) else content.encode(), refusal=refusal)


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2)


#: What a Hugging Face model's config.json holds besides.
CONFIG = {
    "architectures": ["ResNetForImageClassification"],
    "depths": [2, 2, 2, 2],
    "hidden_act": "relu",
    "stage_names": ["stem", "stage1", "stage2", "stage3", "stage4"],
    "torch_dtype": "float32",
}

ENCODINGS = (
    taken("UTF-8 byte-order mark", "a.txt", codecs.BOM_UTF8 + b"cat\ndog\nbird\n", *ANIMALS),
    taken("UTF-8 byte-order mark in JSON", "a.json", codecs.BOM_UTF8 + b'["cat", "dog", "bird"]', *ANIMALS),
    taken("byte-order mark in a table", "a.csv", codecs.BOM_UTF8 + b"0,cat\n1,dog\n2,bird\n", *ANIMALS),
    taken("byte-order mark of a second file that was appended", "a.txt", "\ufeffcat\n\ufeffdog\nbird\n", *ANIMALS),
    taken("UTF-16 as Windows writes it", "a.txt", "cat\r\ndog\r\nbird\r\n".encode("utf-16"), *ANIMALS,
          form="UTF-16-LE"),
    taken("UTF-16, Chinese", "a.txt", "\r\n".join(CHINESE).encode("utf-16"), *CHINESE),
    taken(
        "UTF-16, big end first", "a.txt", codecs.BOM_UTF16_BE + "cat\ndog\nbird".encode("utf-16-be"), *ANIMALS,
        form="UTF-16-BE",
    ),
    taken("UTF-16 without a mark", "a.txt", "cat\r\ndog\r\nbird\r\n".encode("utf-16-le"), *ANIMALS),
    taken("UTF-16 without a mark, big end first", "a.csv", "0,cat\n1,dog\n2,bird\n".encode("utf-16-be"), *ANIMALS),
    taken("UTF-16 in JSON", "a.json", '{"0": "cat", "1": "dog", "2": "bird"}'.encode("utf-16"), *ANIMALS),
    taken("UTF-32", "a.txt", "cat\ndog\nbird".encode("utf-32"), *ANIMALS),
    refused("UTF-16 without a mark, Chinese", "a.txt", "\n".join(CHINESE).encode("utf-16-le"), "no text|not UTF-8"),
    refused("GBK", "a.txt", "cat\n虎斑猫\n".encode("gbk"), r'line 2 is not UTF-8.*"虎斑猫" in GB18030.*iconv'),
    refused("Latin-1", "a.txt", "cat\ndog\nBärenhüter\n".encode("latin-1"), r'line 3.*"Bärenhüter" in Windows-1252'),
    refused("Shift-JIS", "a.txt", "猫\n犬\n".encode("shift-jis"), "line 1 is not UTF-8"),
    refused("GBK in JSON", "a.json", '["虎斑猫"]'.encode("gbk"), "line 1 is not UTF-8"),
    refused("a picture", "a.txt", b"\xff\xd8\xff\xe0\0\x10JFIF\0", "no text"),
    refused("a zip file, as weights and spreadsheets are", "a.xlsx", b"PK\x03\x04\x14\0\x06\0\x08\xa4\xff",
            "no text.*spreadsheet"),
    refused("a web page in place of the file", "a.txt", "<!DOCTYPE html>\n<html>\n", "web page"),
    refused("a pointer of Git LFS", "a.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
            "Git LFS"),
    refused("GBK after a mark of UTF-8", "a.txt", codecs.BOM_UTF8 + "虎斑猫\n".encode("gbk"), "line 1 is not UTF-8"),
    refused("UTF-16 cut in the middle", "a.txt", "cat\ndog".encode("utf-16")[:-1], "no text"),
)  # fmt: skip

LINES = (
    taken("one a line", "a.txt", "cat\ndog\nbird\n", *ANIMALS, form="text, one a line"),
    taken("without a line end", "a.names", "cat\ndog\nbird", *ANIMALS),
    taken("blank lines at the end", "a.txt", "cat\ndog\nbird\n\n \n\n", *ANIMALS),
    taken("CR LF", "a.txt", "cat\r\ndog\r\nbird\r\n", *ANIMALS),
    taken("CR", "a.txt", "cat\rdog\rbird\r", *ANIMALS),
    taken("CR CR LF, of a text converted twice", "a.txt", "cat\r\r\ndog\r\r\nbird\r\r\n", *ANIMALS),
    taken("spaces around", "a.txt", " cat \n\tdog\t\nbird\u3000\n", *ANIMALS),
    taken("a comment", "a.txt", "# three animals\ncat\ndog\n#\nbird\n", *ANIMALS, form="without 2 comment lines"),
    taken("comments and blank lines around them", "a.txt", "# mammals\n\ncat\ndog\n\n# birds\nbird\n", *ANIMALS),
    taken("names that begin with a hash", "a.txt", "#hashtag\nC#\n#1 fan\n", "#hashtag", "C#", "#1 fan"),
    taken("commas in names", "a.txt", "tench, Tinca tinca\ngoldfish\n", "tench, Tinca tinca", "goldfish"),
    taken("each in quotes", "a.txt", '"cat"\n"dog"\n"bird"\n', *ANIMALS),
    taken("each in quotes, with quotes inside", "a.txt", '"5"" screen"\n"cat"\n', '5" screen', "cat"),
    taken(
        "quotes at the start and the end of a name",
        "a.txt",
        "'n' roll, rock 'n'\n'80s, the '80s'\n",
        "'n' roll, rock 'n'",
        "'80s, the '80s'",
    ),
    taken("the inside of a Python list", "a.txt", "'cat',\n'dog',\n'bird'\n", *ANIMALS),
    taken("bullets", "a.txt", "- cat\n- dog\n- bird\n", *ANIMALS),
    taken("brackets in names", "a.txt", "[unknown]\ncat\n[sic]\n", "[unknown]", "cat", "[sic]"),
    refused("a blank line in the middle", "a.txt", "cat\n\ndog\n", "line 2 is blank"),
    refused("a blank line in the middle, CR LF", "a.txt", "cat\r\ndog\r\n \r\nbird\r\n", "line 3 is blank"),
    refused("a blank line at the start", "a.txt", "\ncat\ndog\n", "line 1 is blank"),
    refused("empty", "a.txt", "", "empty"),
    refused("nothing but blank lines", "a.txt", "\ufeff\n \n", "empty"),
    refused("nothing but comments", "a.txt", "# cat\n# dog\n", "comments alone"),
    refused("one name twice", "a.txt", "cat\ndog\ncat\n", r'classes 0 and 2 are both "cat" \(line 1 and line 3\)'),
    refused("one name twice, composed otherwise", "a.txt", "café\ncafe\u0301\n", "classes 0 and 1 are both"),
)

INDEXED = (
    taken("comma", "a.txt", "0,cat\n1,dog\n2,bird\n", *ANIMALS, form="text, index and name"),
    taken("comma and space", "a.txt", "0, cat\n1, dog\n2, bird\n", *ANIMALS),
    taken("space", "a.txt", "0 cat\n1 dog\n2 bird\n", *ANIMALS, form="text, index and name"),
    taken("colon", "a.txt", "0: cat\n1: dog\n2: bird\n", *ANIMALS),
    taken("tab", "a.txt", "0\tcat\n1\tdog\n2\tbird\n", *ANIMALS),
    taken("semicolon", "a.txt", "0;cat\n1;dog\n2;bird\n", *ANIMALS),
    taken("equals sign", "a.txt", "0 = cat\n1 = dog\n2 = bird\n", *ANIMALS),
    taken("arrow", "a.txt", "0 -> cat\n1 => dog\n2->bird\n", *ANIMALS),
    taken("indices in quotes", "a.txt", "'0': 'cat',\n'1': 'dog',\n'2': 'bird'\n", *ANIMALS),
    taken("columns filled with zeros and spaces", "a.txt", "000   cat\n001   dog\n002   bird\n", *ANIMALS),
    taken("a numbered list", "a.txt", "1. cat\n2. dog\n3. bird\n", *ANIMALS, form="numbered from 1"),
    taken("from 1", "a.txt", "1 cat\n2 dog\n3 bird\n", *ANIMALS, form="numbered from 1"),
    taken("in another order", "a.txt", "2: bird\n0: cat\n1: dog\n", *ANIMALS),
    taken("in the order of texts", "a.txt", "\n".join(f"{i} name{chr(97 + i)}" for i in (0, 1, 10, *range(2, 10))),
          *(f"name{chr(97 + i)}" for i in range(11))),
    taken("name first, space, as Places365 has it", "a.txt", "/a/airfield 0\n/a/alley 1\n", "/a/airfield", "/a/alley",
          form="text, name and index"),
    taken("name first, comma", "a.txt", "cat,0\ndog,1\nbird,2\n", *ANIMALS, form="text, name and index"),
    taken("name first, in another order", "a.txt", "bird\t2\ndog\t1\ncat\t0\n", *ANIMALS),
    taken("commas in names", "a.txt", "0,tench, Tinca tinca\n1,goldfish\n", "tench, Tinca tinca", "goldfish"),
    taken("spaces in names", "a.txt", "0 tiger cat\n1 3D printer\n", "tiger cat", "3D printer"),
    taken("the inside of a Python dict", "a.txt", "0: 'cat',\n1: \"dog's\",\n2: 'bird'\n", "cat", "dog's", "bird"),
    taken("names of birds with their own numbers", "a.txt", "1 001.Albatross\n2 002.Auk\n", "001.Albatross", "002.Auk"),
    taken("digits", "a.txt", "0\n1\n2\n", "0", "1", "2", form="one a line"),
    taken("digits with indices", "a.txt", "0,7\n1,8\n2,9\n", "7", "8", "9"),
    taken("numbers in names", "a.txt", "7 UP\n3D printer\n101 dalmatians\n", "7 UP", "3D printer", "101 dalmatians"),
    taken("numbers in all names", "a.txt", "7 UP\n101 dalmatians\n", "7 UP", "101 dalmatians"),
    taken("amounts", "a.txt", "1 cent\n2 cent\n5 cent\n", "1 cent", "2 cent", "5 cent"),
    taken("stars, numbered as indices are", "a.txt", "1 star\n2 stars\n3 stars\n", "1 star", "2 stars", "3 stars"),
    taken("routes, numbered at the end", "a.txt", "Route 1\nRoute 2\nRoute 3\n", "Route 1", "Route 2", "Route 3"),
    taken("models with years", "a.txt", "Audi TT 2012\nBMW M3 2011\n", "Audi TT 2012", "BMW M3 2011"),
    taken("ratios", "a.txt", "4:3\n16:9\n21:9\n", "4:3", "16:9", "21:9"),
    taken("a JSON list keeps any number in a name", "a.txt", '["0 cat", "1 dog"]', "0 cat", "1 dog"),
    refused("a gap", "a.txt", "0,cat\n1,dog\n3,bird\n", r'index 2 is missing.*0 to 2, and line 3 has 3 \("bird"\)'),
    refused("a gap after 1", "a.txt", "1: cat\n2: dog\n4: bird\n", "index 3 is missing.*1 to 3"),
    refused("a gap, spaces", "a.txt", "0 cat\n1 dog\n3 bird\n", "index 2 is missing"),
    refused("an index twice", "a.txt", "0,cat\n1,dog\n1,bird\n",
            r'index 1 is given twice: "dog" \(line 2\) and "bird"'),
    refused("a name twice", "a.txt", "0,cat\n1,dog\n2,cat\n", r'classes 0 and 2 are both "cat"'),
    refused("a line without its index", "a.txt", "0,cat\n1,dog\nbird\n", r'line 3 has no class index \("bird"\)'),
    refused("a line without its index, spaces", "a.txt", "0 cat\n1 dog\nbird\n3 fish\n", "line 3 has no class index"),
    refused("a line without its name", "a.txt", "0 cat\n1\n2 bird\n", r'line 2 has no class index \("1"\)'),
    refused("two columns of numbers", "a.txt", "0,0\n1,1\n10,2\n2,3\n3,4\n4,5\n5,6\n6,7\n7,8\n8,9\n9,10\n",
            "both its columns could be the index"),
)  # fmt: skip

WORDNET = (
    taken("WordNet id and name", "a.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n", TENCH, GOLDFISH),
    taken("WordNet id, tab, name", "a.txt", "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\n", TENCH, GOLDFISH),
    taken("folders of Stanford Dogs", "a.txt", "n02085620-Chihuahua\nn02085782-Japanese_spaniel\n",
          ("n02085620", "Chihuahua"), ("n02085782", "Japanese_spaniel")),
    taken("index, WordNet id, name", "a.txt", "0 n01440764 tench, Tinca tinca\n1 n01443537 goldfish\n", TENCH,
          GOLDFISH),
    taken("WordNet id, index, name", "a.txt", "n01443537 2 goldfish\nn01440764 1 tench, Tinca tinca\n", TENCH, GOLDFISH,
          form="numbered from 1"),
    taken("WordNet ids alone get ImageNet's names", "a.txt", "n01443537\nn01440764\nn99999999\n", GOLDFISH,
          ("n01440764", "tench"), ("n99999999", "n99999999")),
    taken("two names alike with their ids", "a.txt", "n02012849 crane\nn03126707 crane\n", ("n02012849", "crane"),
          ("n03126707", "crane")),
    refused("an id twice", "a.txt", "n01440764 tench\nn01440764 goldfish\n", "classes 0 and 1 are both"),
)  # fmt: skip

TABLES = (
    taken("index,name", "a.csv", "index,name\n0,cat\n1,dog\n2,bird\n", *ANIMALS, form="header, index and name"),
    taken("name,index", "a.csv", "name,index\ncat,0\ndog,1\nbird,2\n", *ANIMALS),
    taken("class_id,label", "a.csv", "class_id,label\n0,cat\n1,dog\n2,bird\n", *ANIMALS),
    taken("a header in a text file", "a.txt", "class_id,label\n0,cat\n1,dog\n2,bird\n", *ANIMALS, form="header"),
    taken("a header of other words", "a.csv", "Nummer;Klasse\n0;cat\n1;dog\n2;bird\n", *ANIMALS, form="header"),
    taken("without a header", "a.csv", "0,cat\n1,dog\n2,bird\n", *ANIMALS),
    taken("semicolons", "a.csv", "id;name\r\n0;cat\r\n1;dog\r\n2;bird\r\n", *ANIMALS),
    taken("tabs", "a.tsv", "id\tname\n0\tcat\n1\tdog\n2\tbird\n", *ANIMALS),
    taken("quotes", "a.csv", 'index,name\n0,"tench, Tinca tinca"\n1,goldfish\n', "tench, Tinca tinca", "goldfish"),
    taken("quotes, name first", "a.csv", '"tench, Tinca tinca",0\ngoldfish,1\n', "tench, Tinca tinca", "goldfish"),
    taken("quotes inside quotes", "a.csv", 'index,name\n0,"5"" screen, wide"\n1,cat\n', '5" screen, wide', "cat"),
    taken("all in quotes", "a.csv", '"index","name"\n"0","cat"\n"1","dog"\n', "cat", "dog"),
    taken("commas in names, no quotes, a header", "a.csv", "index,name\n0,tench, Tinca tinca\n1,goldfish\n",
          "tench, Tinca tinca", "goldfish"),
    taken("the index of pandas", "a.csv", ",name\n0,cat\n1,dog\n2,bird\n", *ANIMALS),
    taken("the index of pandas and the own one", "a.csv", ",class_id,name\n0,2,bird\n1,0,cat\n2,1,dog\n", *ANIMALS,
          form="class_id and name"),
    taken("more columns", "a.csv", "id,name,pictures,note\n0,cat,120,tame\n1,dog,98,loud\n2,bird,7,wild\n", *ANIMALS,
          form="id and name"),
    taken("WordNet ids", "a.csv", "class,synset,name\n0,n01440764,\"tench, Tinca tinca\"\n1,n01443537,goldfish\n",
          TENCH,
          GOLDFISH),
    taken("WordNet ids without a header", "a.csv", "0,n01440764,tench\n1,n01443537,goldfish\n", ("n01440764", "tench"),
          GOLDFISH),
    taken("one column with a header", "a.csv", "label\ncat\ndog\nbird\n", *ANIMALS, form="header"),
    taken("one column, some in quotes", "a.csv", '"tench, Tinca tinca"\ngoldfish\n', "tench, Tinca tinca", "goldfish"),
    taken("one column, some in quotes, a header", "a.csv", 'name\n"tench, Tinca tinca"\ngoldfish\n',
          "tench, Tinca tinca", "goldfish"),
    taken("one column, commas without quotes", "a.csv", "tench, Tinca tinca\ngoldfish\n",
          "tench, Tinca tinca", "goldfish"),
    taken("one column, commas without quotes, a header", "a.csv", "name\ntench, Tinca tinca\ngoldfish\n",
          "tench, Tinca tinca", "goldfish"),
    taken("WordNet ids, some names in quotes", "a.csv", 'n01440764,"tench, Tinca tinca"\nn01443537,goldfish\n', TENCH,
          GOLDFISH),
    taken("numbers for names", "a.csv", "0,7\n1,8\n2,9\n", "7", "8", "9"),
    taken("one column", "a.csv", "cat\ndog\nbird\n", *ANIMALS),
    taken("no index, a header", "a.csv", "label,note\ncat,tame\ndog,loud\n", "cat", "dog", form="header, label"),
    taken("a name that is a header elsewhere", "a.txt", "label\nstamp\nenvelope\n", "label", "stamp", "envelope"),
    refused("no index, no header", "a.csv", "cat,tame\ndog,loud\n", "which column holds what"),
    refused("three columns without a header", "a.csv", "0,cat,tame\n1,dog,loud\n", "which column holds what"),
    refused("columns of no known name", "a.csv", "id,latin,german\n0,felis,Katze\n1,canis,Hund\n", '"latin", "german"'),
    refused("a gap", "a.csv", "index,name\n0,cat\n2,bird\n", r'index 1 is missing.*line 3 has 2 \("bird"\)'),
    refused("an index twice", "a.csv", "index,name\n0,cat\n0,bird\n", "index 0 is given twice"),
    refused("two columns of numbers", "a.csv", "1,0\n2,1\n0,2\n", '"column 1", "column 2" are numbers'),
    refused("an index that is none", "a.csv", "index,name\n0,cat\n1,dog\nx,bird\n",
            r'line 4 has "x" for a class index'),
    refused("indices with a point", "a.csv", "index,name\n0.0,cat\n1.0,dog\n", r'line 2 has "0.0" for a class index'),
    refused("most indices without a header", "a.csv", "0,cat\n1,dog\n,bird\n", r'line 3 has "" for a class index'),
    refused("a header alone", "a.csv", "index,name\n", "a header alone"),
    refused("a header of one column alone", "a.csv", "label\n", "a header alone"),
    refused("no name in a line", "a.csv", "index,name\n0,cat\n1,\n", "line 3"),
)  # fmt: skip

JSON = (
    taken("list", "a.json", '["cat", "dog", "bird"]', *ANIMALS, form="JSON list"),
    taken("list in a text file", "a.txt", '["cat", "dog", "bird"]', *ANIMALS),
    taken("index to name", "a.json", '{"1": "dog", "0": "cat", "2": "bird"}', *ANIMALS, form="index to name"),
    taken("index to name, from 1", "a.json", '{"1": "cat", "2": "dog", "3": "bird"}', *ANIMALS, form="numbered from 1"),
    taken("name to index", "a.json", '{"dog": 1, "bird": 2, "cat": 0}', *ANIMALS, form="name to index"),
    taken("name to index in quotes", "a.json", '{"dog": "1", "cat": "0"}', "cat", "dog"),
    taken("folders with numbers for names", "a.json", '{"0": 0, "1": 1, "10": 2, "2": 3}', "0", "1", "10", "2"),
    taken("TorchServe's index_to_name.json", "index_to_name.json",
          '{"0": ["n01440764", "tench, Tinca tinca"], "1": ["n01443537", "goldfish"]}', TENCH, GOLDFISH),
    taken("list of pairs", "a.json", '[["n01440764", "tench, Tinca tinca"], ["n01443537", "goldfish"]]', TENCH,
          GOLDFISH),
    taken("list of objects", "a.json", '[{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]', "cat", "dog"),
    taken("list of indices and names", "a.json", '[[1, "dog"], [0, "cat"]]', "cat", "dog"),
    taken("index to object", "a.json", '{"0": {"label": "cat", "uri": "x"}, "1": {"label": "dog", "uri": "y"}}',
          "cat", "dog"),
    taken("COCO's categories", "a.json", _json({"images": [], "categories": [
        {"supercategory": "animal", "id": 1, "name": "cat"}, {"supercategory": "animal", "id": 2, "name": "dog"}]}),
        "cat", "dog", form="categories"),
    taken("class_to_idx in an object", "a.json", '{"epoch": 9, "class_to_idx": {"dog": 1, "cat": 0}}', "cat", "dog",
          form="class_to_idx"),
    taken("idx_to_class and class_to_idx", "a.json",
          '{"class_to_idx": {"dog": 1, "cat": 0}, "idx_to_class": {"0": "cat", "1": "dog"}}', "cat", "dog"),
    taken("Hugging Face's config.json", "config.json",
          _json({**CONFIG, "id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}}), "cat", "dog",
          form="JSON, id2label"),
    taken("Hugging Face's config.json with label2id alone", "config.json",
          _json({**CONFIG, "label2id": {"dog": 1, "cat": 0}}), "cat", "dog", form="label2id"),
    taken("Hugging Face's features", "a.json",
          _json({"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}),
          "cat", "dog", form="features.label.names"),
    taken("Keras' class_indices", "a.json", '{"class_indices": {"cat": 0, "dog": 1}}', "cat", "dog"),
    taken("names and their number", "a.json", '{"nc": 2, "names": ["cat", "dog"]}', "cat", "dog"),
    taken("JSON lines of texts", "a.jsonl", '"cat"\n"dog\'s \\"bed\\""\n', "cat", 'dog\'s "bed"'),
    taken("JSON lines of objects", "a.jsonl", '{"id": 1, "name": "dog"}\n{"id": 0, "name": "cat"}\n', "cat", "dog"),
    taken("JSON lines named .json", "a.json", '{"id": 1, "name": "dog"}\n{"id": 0, "name": "cat"}\n', "cat", "dog"),
    taken("what Python prints of a dict", "a.txt", "{0: 'tench, Tinca tinca',\n 1: \"jack-o'-lantern\"}",
          "tench, Tinca tinca", "jack-o'-lantern"),
    taken("what Python prints of a list", "a.txt", "['cat', 'dog']", "cat", "dog"),
    refused("cut off", "a.json", '{"0": "cat", ', "not valid JSON"),
    refused("cut off in a text file", "a.txt", '{"0": "cat",\n"1": "dog",\n', "not valid JSON"),
    refused("a number", "a.json", "3", "holds no class names"),
    refused("an empty list", "a.json", "[]", "holds no class names"),
    refused("an empty object", "a.json", "{}", "holds no class names"),
    refused("a number in a list", "a.json", '["cat", 7]', r"class 1 \(entry 2\) is 7"),
    refused("null", "a.json", '["cat", null]', r"class 1 \(entry 2\) is None"),
    refused("three texts", "a.json", '[["a", "b", "c"]]', r"class 0 \(entry 1\) is"),
    refused("a blank name", "a.json", '["cat", " "]', r"class 1 \(entry 2\) has no name"),
    refused("a gap", "a.json", '{"0": "cat", "2": "dog"}', "index 1 is missing"),
    refused("a gap in name to index", "a.json", '{"cat": 0, "dog": 2}', r'index 1 is missing.*"dog" has 2'),
    refused("a key twice", "a.json", '{"0": "cat", "0": "dog", "1": "bird"}',
            '"0" stands there twice, as "cat" and "dog"'),
    refused("an index twice", "a.json", '{"cat": 0, "dog": 1, "bird": 1}', r'index 1 is given twice: "dog".*"bird"'),
    refused("a name twice", "a.json", '{"0": "cat", "1": "cat"}', r'both "cat" \("0" and "1"\)'),
    refused("true for an index", "a.json", '{"cat": true, "dog": false}', "no class names were found"),
    refused("a gap in id2label", "config.json", _json({**CONFIG, "id2label": {"0": "cat", "2": "dog"}}),
            "index 1 is missing"),
    refused("no names in a config.json", "config.json", _json(CONFIG), "no class names were found.*id2label"),
    refused("two lists that differ", "a.json", '{"colors": {"names": ["red"]}, "shapes": {"names": ["round"]}}',
            '"colors.names", "shapes.names" hold different'),
    refused("nested without end", "a.json", "[" * 100_000 + "]" * 100_000, "nested|not valid JSON"),
    refused("half a character", "a.json", '["\\ud83d"]', r"U\+D83D"),
)  # fmt: skip

YAML = (
    refused("aliases that double forty times", "a.yaml", "a0: &a0 x\n" + "".join(
        f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40)), "aliases"),
    taken("Ultralytics' data.yaml", "data.yaml", "path: ../pets\ntrain: images\nnc: 2\nnames:\n  0: cat\n  1: dog\n",
          "cat", "dog", form="YAML, names"),
    taken("names in a row", "data.yaml", "nc: 3\nnames: ['cat', 'dog', 'bird']  # all\n", *ANIMALS),
    taken("a list", "a.yml", "- cat\n- dog\n- bird\n", *ANIMALS),
    taken("words that YAML takes for something else", "a.yaml", "names: [no, yes, null, 12, 1e3, 2020-01-01]\n",
          "no", "yes", "null", "12", "1e3", "2020-01-01"),
    taken("folders with numbers for names", "a.yaml", 'class_to_idx: {"0": 0, "1": 1, "10": 2, "2": 3}', "0", "1",
          "10", "2"),
    refused("a key twice", "a.yaml", "names:\n  0: cat\n  0: dog\n", '"0" stands there twice'),
    refused("a gap", "a.yaml", "names:\n  0: cat\n  2: dog\n", "index 1 is missing"),
    refused("broken", "a.yaml", "nc: 2\nnames: [cat, dog\n", "not valid YAML.*line 2"),
    refused("no names", "a.yaml", "path: ../pets\n", "no class names were found"),
    refused("a name alone", "a.yaml", "cat\n", "holds no class names"),
    refused("code", "a.yaml", "!!python/object/apply:os.system ['true']\n", "python/object/apply:os.system"),
)  # fmt: skip

NAMES = (
    taken("HTML", "a.txt", "<b>cat</b>\n<script>alert(1)</script>\n", "<b>cat</b>", "<script>alert(1)</script>"),
    taken("right to left", "a.txt", "חתול\nقطة\n", "חתול", "قطة"),
    taken("emoji", "a.txt", "🐈\n👩🏽‍🚒\n", "🐈", "👩🏽‍🚒"),
    taken("composed and decomposed stay as they are", "a.txt", "café\nA\u030angstro\u0308m\n", "café",
          "A\u030angstro\u0308m"),
    taken("upper and lower case are two names", "a.txt", "Cardigan\ncardigan\n", "Cardigan", "cardigan"),
    taken("a thousand characters", "a.txt", "x" * 1000 + "\ncat\n", "x" * 1000, "cat"),
    refused("more than a thousand", "a.txt", "cat\n" + "x" * 1001,
            r"class 1 \(line 2\) has a name of 1,001 characters"),
    refused("a control character", "a.txt", "cat\ndo\x1b[31mg\n",
            r"class 1 \(line 2\) has the control character U\+001B"),
    refused("a byte-order mark inside", "a.txt", "ca\ufefft\ndog\n", r"U\+FEFF"),
    refused("a zero byte", "a.txt", "cat\nd\0g\n", r"U\+0000"),
    refused("a line break in JSON", "a.json", '["cat", "dog\\nbird"]', r"class 1 \(entry 2\).*U\+000A"),
    refused("a tab inside", "a.txt", "cat\tfelis\ndog\tcanis\n", r"class 0 \(line 1\).*U\+0009"),
    refused("a line separator", "a.txt", "cat\u2028dog\n", r"U\+2028"),
)  # fmt: skip

KINDS = {
    "encodings": ENCODINGS,
    "lines": LINES,
    "indexed": INDEXED,
    "wordnet": WORDNET,
    "tables": TABLES,
    "json": JSON,
    "yaml": YAML,
    "names": NAMES,
}
CASES = {f"{kind}: {case.name}": case for kind, cases in KINDS.items() for case in cases}
