# The functions of jq that are written in jq, as the manual describes them; rewrite.go
# meters them like a user's program. Names with _ are for this file only.

def not: if . then false else true end;
def select(f): if f then . else empty end;
def map(f): [.[] | f];
def map_values(f): .[] |= f;
def add(f): reduce f as $x (null; . + $x);
def abs: if . < 0 then -. else . end;
def in(xs): . as $key | xs | has($key);

# Types.
def nulls: select(. == null);
def values: select(. != null);
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def arrays: select(type == "array");
def objects: select(type == "object");
def iterables: arrays, objects;
def scalars: nulls, booleans, numbers, strings;

# Loops.
def range($from; $upto; $by): _range($from; $upto; $by);
def range($from; $upto): _range($from; $upto; 1);
def range($upto): _range(0; $upto; 1);
def recurse(f): def down: ., (f | down); down;
def recurse(f; cond): recurse(f | select(cond));
def recurse: recurse(.[]?);
def repeat(f): def go: f, go; go;
def while(cond; update): def go: select(cond) | ., (update | go); go;
def until(cond; update): def go: if cond then . else update | go end; go;
def walk(f): def go: if type == "array" then map(go) elif type == "object" then map_values(go) else . end | f; go;

# Streams.
def first(g): label $found | g | ., break $found;
def last(g): _last(g);
def isempty(g): first((g | false), true);
def any(g; cond): first((g | cond | select(.) | true), false);
def all(g; cond): first((g | cond | select(not) | false), true);
def skip($n; g):
  if $n < 0 then error("skip by a negative number")
  else foreach g as $x (0; . + 1; select(. > $n) | $x) end;
def limit($n; g):
  if $n < 0 then error("limit to a negative number")
  elif $n == 0 then empty
  else label $full | foreach g as $x (0; . + 1; $x, (select(. >= $n) | break $full)) end;
def nth($n; g): if $n < 0 then error("nth of a negative number") else first(skip($n; g)) end;
def IN(s): . as $x | any(s; . == $x);
def IN(src; s): any(src as $x | s | . == $x; .);
def INDEX(stream; key): [stream | {(key | tostring): .}] | add // {};

# Arrays.
def first: .[0];
def last: .[-1];
def nth($n): .[$n];
def any(cond): any(.[]; cond);
def any: any(.);
def all(cond): all(.[]; cond);
def all: all(.);
def INDEX(key): INDEX(.[]; key);
def sort_by(f): _sort_by(map([f]));
def group_by(f): _group_by(map([f]));
def unique_by(f): _unique_by(map([f]));
def min_by(f): _min_by(map([f]));
def max_by(f): _max_by(map([f]));

# Objects.
def to_entries: [. as $object | keys[] | {key: ., value: $object[.]}];
def from_entries:
  map({(.key // .Key // .name // .Name): (if has("value") then .value else .Value end)}) | add // {};
def with_entries(f): to_entries | map(f) | from_entries;

# Paths.
def del(f): delpaths([path(f)]);
def paths: path(..) | select(. != []);
def paths(f): path(.. | select(f)) | select(. != []);
def pick(f): . as $whole | reduce path(f) as $p (null; setpath($p; $whole | getpath($p)));

# Regular expressions.
def match($re; $flags): _matches($__meter; $re; $flags)[];
def match($re): if $re | type == "array" then match($re[0]; $re[1]) else match($re; null) end;
def test($re; $flags): isempty(match($re; $flags)) | not;
def test($re): isempty(match($re)) | not;
def _named: [.captures[] | select(.name) | {(.name): .string}] | add // {};
def capture($re; $flags): match($re; $flags) | _named;
def capture($re): match($re) | _named;
def scan($re; $flags): match($re; "g" + $flags) | if .captures == [] then .string else [.captures[].string] end;
def scan($re): scan($re; null);
def _between($found):
  [0, ($found[] | .offset, .offset + .length), length] as $at
  | [range(0; $at | length; 2) as $i | .[$at[$i]:$at[$i + 1]]];
def split($re; $flags): _between([match($re; "g" + $flags)]);
def splits($re; $flags): split($re; $flags)[];
def splits($re): splits($re; null);
def sub($re; str; $flags):
  . as $text
  | [match($re; $flags)] as $found
  | _between($found) as $kept
  | [range($found | length) as $i | [$found[$i] | _named | $kept[$i] + str]]
  | transpose
  | if . == [] then $text else .[] | add + $kept[-1] end;
def sub($re; str): sub($re; str; null);
def gsub($re; str; $flags): sub($re; str; "g" + $flags);
def gsub($re; str): gsub($re; str; null);

# Texts and times.
def fromjson: _fromjson($__meter);
def now: _now($__meter);
def todateiso8601: strftime("%Y-%m-%dT%H:%M:%SZ");
def todate: todateiso8601;
def fromdateiso8601: strptime("%Y-%m-%dT%H:%M:%S%z") | mktime;
def fromdate: fromdateiso8601;
