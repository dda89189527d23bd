import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Malicious pleat headers with valid checksums and wrong values.
@Suite struct HostileHeaderTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func open(_ bytes: [UInt8], as name: String) throws -> ModelError? {
    let path = try scratch.write(bytes, as: name)
    return Laws.error { () throws(ModelError) in try Model.open(path).readEverything() }
  }

  private static let largest = "9223372036854775807"
  private static let f32 = #""shape":[4],"encoding":{"type":"F32"},"#
  private static let grouped =
    #""encoding":{"bits":4,"groupSize":32,"offset":"bias","parameters":"F16"},"#

  /// Tensors with one wrong member each, in a file with 64 bytes of data.
  static let tensors: [(String, String)] = [
    (
      "the part begins before the data",
      f32 + #""parts":{"values":{"offset":0,"length":16,"crc32c":"00000000"}}"#
    ),
    (
      "the part ends after the data",
      f32 + #""parts":{"values":{"offset":128,"length":16,"crc32c":"00000000"}}"#
    ),
    (
      "the offset is huge",
      f32 + #""parts":{"values":{"offset":9223372036854775744,"length":16,"crc32c":"00000000"}}"#
    ),
    (
      "the part is not aligned",
      f32 + #""parts":{"values":{"offset":68,"length":16,"crc32c":"00000000"}}"#
    ),
    (
      "the part is too short",
      f32 + #""parts":{"values":{"offset":64,"length":12,"crc32c":"00000000"}}"#
    ),
    (
      "the part is too long",
      f32 + #""parts":{"values":{"offset":64,"length":20,"crc32c":"00000000"}}"#
    ),
    ("there is no checksum", f32 + #""parts":{"values":{"offset":64,"length":16}}"#),
    (
      "the checksum is no number",
      f32 + #""parts":{"values":{"offset":64,"length":16,"crc32c":"zzzzzzzz"}}"#
    ),
    (
      "the part has another role",
      f32 + #""parts":{"codes":{"offset":64,"length":16,"crc32c":"00000000"}}"#
    ),
    ("there is no part", f32 + #""parts":{}"#),
    (
      "the type is unknown",
      #""shape":[4],"encoding":{"type":"F33"},"parts":{"values":\#(PleatText.nothing)}"#
    ),
    (
      "the block type is unknown",
      #""shape":[32],"encoding":{"ggml":"Q9_9"},"parts":{"blocks":\#(PleatText.nothing)}"#
    ),
    (
      "the block type is a plain one",
      #""shape":[4],"encoding":{"ggml":"F32"},"parts":{"blocks":\#(PleatText.nothing)}"#
    ),
    (
      "rows are not whole blocks",
      #""shape":[2,33],"encoding":{"ggml":"Q8_0"},"parts":{"blocks":\#(PleatText.nothing)}"#
    ),
    (
      "the shape overflows",
      #""shape":[4294967296,4294967296],"encoding":{"type":"U8"},"#
        + #""parts":{"values":\#(PleatText.nothing)}"#
    ),
    (
      "no rows of 2^62 columns",
      #""shape":[0,4611686018427387904],\#(grouped)"parts":{"codes":\#(PleatText.nothing),"#
        + #""scales":\#(PleatText.nothing),"biases":\#(PleatText.nothing)}"#
    ),
    (
      "the group does not divide the rows",
      #""shape":[1,33],\#(grouped)"parts":{"codes":\#(PleatText.nothing),"#
        + #""scales":\#(PleatText.nothing),"biases":\#(PleatText.nothing)}"#
    ),
    (
      "codes of seven bits",
      #""shape":[1,32],"encoding":{"bits":7,"groupSize":32,"offset":"none","parameters":"F16"},"#
        + #""parts":{"codes":\#(PleatText.nothing),"scales":\#(PleatText.nothing)}"#
    ),
    (
      "groups of no columns",
      #""shape":[1,32],"encoding":{"bits":4,"groupSize":0,"offset":"none","parameters":"F16"},"#
        + #""parts":{"codes":\#(PleatText.nothing),"scales":\#(PleatText.nothing)}"#
    ),
    (
      "integer scales",
      #""shape":[1,32],"encoding":{"bits":4,"groupSize":32,"offset":"none","parameters":"I16"},"#
        + #""parts":{"codes":\#(PleatText.nothing),"scales":\#(PleatText.nothing)}"#
    ),
    ("there is no encoding", #""shape":[4],"parts":{"values":\#(PleatText.nothing)}"#),
  ]

  /// Codes with scales, 64 of them in 4 rows, with one wrong member each; the part of scales is right.
  static let scaled: [(String, String)] = [
    ("codes of an unknown type", #""codes":"F5","scales":"F32","tileRows":1"#),
    ("codes of a type that is no code", #""codes":"F32","scales":"F32","tileRows":1"#),
    ("scales of an unknown type", #""codes":"F8_E4M3","scales":"F33","tileRows":1"#),
    ("integer scales", #""codes":"F8_E4M3","scales":"I32","tileRows":1"#),
    ("no scales", #""codes":"F8_E4M3","tileRows":1"#),
    ("tiles of no rows", #""codes":"F8_E4M3","scales":"F32","tileRows":0"#),
    ("tiles of too many rows", #""codes":"F8_E4M3","scales":"F32","tileRows":5"#),
    ("tiles of 2^63 − 1 rows", #""codes":"F8_E4M3","scales":"F32","tileRows":\#(largest)"#),
    ("tiles of no columns", #""codes":"F8_E4M3","scales":"F32","tileRows":1,"tileColumns":0"#),
    ("tiles of too many columns", #""codes":"F8_E4M3","scales":"F32","tileColumns":\#(largest)"#),
    ("tiles of half a byte", #""codes":"F4","scales":"F32","tileRows":1,"tileColumns":1"#),
    ("an unknown factor", #""codes":"F8_E4M3","scales":"F32","tileRows":1,"factor":"sum""#),
    ("127 for floats", #""codes":"F8_E4M3","scales":"F32","tileRows":1,"factor":"largestCode""#),
    ("two kinds of codes", #""codes":"F4","table":"NF4","scales":"F32","tileRows":1"#),
    ("a table without blocks", #""table":"NF4","scales":"F32","tileRows":1"#),
    ("a table of several rows", #""table":"NF4","scales":"F32","tileRows":2,"tileColumns":16"#),
    ("a table with a strange name", #""table":"a b","scales":"F32","tileRows":1,"tileColumns":16"#),
    (
      "blocks of scales without a table",
      #""codes":"F8_E4M3","scales":"U8","tileRows":1,"nestedBlock":2,"nestedOffset":0"#
    ),
    (
      "blocks of no scales",
      #""table":"NF4","scales":"U8","tileRows":1,"tileColumns":16,"nestedBlock":0,"nestedOffset":0"#
    ),
    (
      "blocks of 2^63 − 1 scales",
      #""table":"NF4","scales":"U8","tileRows":1,"tileColumns":16,"nestedBlock":\#(largest)"#
    ),
    (
      "an offset that is too large",
      #""table":"NF4","scales":"U8","tileRows":1,"tileColumns":16,"nestedBlock":4,"#
        + #""nestedOffset":1e39"#
    ),
    ("the table is missing", #""table":"NF4","scales":"F32","tileRows":1,"tileColumns":16"#),
  ]

  @Test("a pleat header with wrong codes and scales is malformed", arguments: scaled)
  func wrongScaledCodes(what: String, encoding: String) throws {
    let parts =
      #""codes":{"offset":64,"length":64,"crc32c":"00000000"},"#
      + #""scales":{"offset":128,"length":16,"crc32c":"00000000"}"#
    func file(_ encoding: String) -> [UInt8] {
      PleatText.file(
        tensor: #""shape":[4,16],"encoding":{\#(encoding),"decoded":"BF16"},"parts":{\#(parts)}"#,
        body: [UInt8](repeating: 0, count: 128))
    }
    #expect(try open(file(encoding), as: "wrong.pleat")?.kind == .malformed)
    // The same file without the mistake is read.
    let right = #""codes":"F8_E4M3","scales":"F32","tileRows":1"#
    #expect(try open(file(right), as: "right.pleat") == nil)
  }

  @Test("codes with scales in rows that are too long are refused before anything is computed")
  func longScaledRows() throws {
    let bytes = PleatText.file(
      tensor: #""shape":[1,4611686018427387],"encoding":{"codes":"F4","scales":"F32","#
        + #""decoded":"BF16"},"#
        + #""parts":{"codes":\#(PleatText.nothing),"scales":\#(PleatText.nothing)}"#)
    #expect(try open(bytes, as: "long.pleat")?.kind == .limit)
  }

  @Test("a pleat header with a wrong tensor is malformed", arguments: tensors)
  func wrongTensors(what: String, members: String) throws {
    let bytes = PleatText.file(tensor: members, body: [UInt8](repeating: 0, count: 64))
    #expect(try open(bytes, as: "wrong.pleat")?.kind == .malformed)
  }

  /// Frames of a part of 16 bytes, with one error each.
  static let frames: [(String, String)] = [
    ("no block", #""block":0,"planes":1,"frames":[64,16]"#),
    ("no block size", #""planes":1,"frames":[64,16]"#),
    ("no plane", #""block":16,"planes":0,"frames":[64]"#),
    ("three planes", #""block":16,"planes":3,"frames":[64,4,4,4]"#),
    ("too few numbers", #""block":16,"planes":1,"frames":[64]"#),
    ("too many blocks", #""block":16,"planes":1,"frames":[64,8,80,8]"#),
    ("too few blocks", #""block":8,"planes":1,"frames":[64,8]"#),
    ("an empty frame", #""block":16,"planes":1,"frames":[64,0]"#),
    ("a frame larger than its block", #""block":16,"planes":1,"frames":[64,17]"#),
    ("a frame in the preamble", #""block":16,"planes":1,"frames":[0,16]"#),
    ("a frame beyond the data", #""block":16,"planes":1,"frames":[120,16]"#),
    ("a frame at the largest offset", #""block":16,"planes":1,"frames":[\#(largest),16]"#),
    (
      "a second plane that overflows",
      #""block":16,"planes":2,"frames":[9223372036854775800,8,8]"#
    ),
    ("an odd block for two planes", #""block":15,"planes":2,"frames":[64,7,7,64,1,1]"#),
    ("overlapping frames", #""block":8,"planes":1,"frames":[64,8,68,8]"#),
    ("a frame that is not zstd", #""block":16,"planes":1,"frames":[64,9]"#),
  ]

  @Test("a pleat header with wrong frames is malformed", arguments: frames)
  func wrongFrames(what: String, members: String) throws {
    let tensor =
      #""shape":[4],"encoding":{"type":"F32"},"#
      + #""parts":{"values":{"length":16,\#(members),"crc32c":"00000000"}}"#
    let bytes = PleatText.file(tensor: tensor, body: [UInt8](repeating: 1, count: 64))
    #expect(try open(bytes, as: "wrong.pleat")?.kind == .malformed)
  }

  /// Whole headers with one error each, and the kind of the error.
  static let headers: [(String, String, ModelError.Kind)] = [
    (
      "a companion of 2^63 - 1 bytes",
      #"{"companions":[{"name":"c","length":\#(largest),"block":64,"planes":1,"frames":[],"#
        + #""crc32c":"00000000"}],"tensors":[]}"#, .malformed
    ),
    (
      "a companion outside the folder",
      #"{"companions":[{"name":"../c","offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "a companion in a subfolder",
      #"{"companions":[{"name":"a/c","offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "a companion without a name",
      #"{"companions":[{"offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "the same companion twice",
      #"{"companions":[{"name":"c","offset":64,"length":0,"crc32c":"00000000"},"#
        + #"{"name":"c","offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "metadata without bytes",
      #"{"metadata":{"count":1,"offset":64,"length":0,"crc32c":"00000000"}}"#, .malformed
    ),
    (
      "2^63 - 1 metadata entries",
      #"{"metadata":{"count":\#(largest),"offset":64,"length":64,"crc32c":"00000000"}}"#, .limit
    ),
    ("an unknown required feature", #"{"requires":["teleport"],"tensors":[]}"#, .unsupported),
    (
      "the same tensor twice",
      #"{"tensors":[{"name":"a","shape":[0],"encoding":{"type":"U8"},"parts":{"values":"#
        + #"\#(PleatText.nothing)}},{"name":"a","shape":[0],"encoding":{"type":"U8"},"#
        + #""parts":{"values":\#(PleatText.nothing)}}]}"#, .malformed
    ),
    (
      "two parts at one offset",
      #"{"tensors":[{"name":"a","shape":[4],"encoding":{"type":"U8"},"parts":{"values":"#
        + #"{"offset":64,"length":4,"crc32c":"00000000"}}},{"name":"b","shape":[4],"#
        + #""encoding":{"type":"U8"},"parts":{"values":"#
        + #"{"offset":64,"length":4,"crc32c":"00000000"}}}]}"#, .malformed
    ),
    ("a header that is not an object", "[]", .malformed),
    ("text after the object", "{}{}", .malformed),
    ("an empty header", "", .malformed),
    ("deep nesting", #"{"x":"# + String(repeating: "[", count: 100_000), .limit),
  ]

  @Test("an invalid pleat header is refused", arguments: headers.map(\.0))
  func wrongHeaders(what: String) throws {
    let (_, header, kind) = try #require(Self.headers.first { $0.0 == what })
    let bytes = PleatText.file(header: header, body: [UInt8](repeating: 0, count: 64))
    #expect(try open(bytes, as: "wrong.pleat")?.kind == kind)
  }

  private static func companions(_ names: [String]) -> String {
    let parts = names.map {
      #"{"name":\#(JSONWriter.text(.string($0))),"offset":64,"length":0,"crc32c":"00000000"}"#
    }
    return #"{"companions":[\#(parts.joined(separator: ","))],"tensors":[]}"#
  }

  @Test(
    "a companion cannot lead out of its folder or make a folder of another program",
    arguments: [
      "", ".", "..", "/", "/x", "x/", "../x", "..//x", "1_x/../x", "1_x//x", "1_x/..", "1_x/.",
      "1_x/", "./x", "1_x/2_x/x", ".git/config", "objects/x", "refs/heads", "torch/__init__.py",
      "onnx/model.json", "additional_chat_templates/x/y", "a\u{0}b", "1_x/a\u{0}",
      "..\u{2f}\u{301}x",
      "x\u{2f}\u{301}y", "/\u{301}x",
    ])
  func companionNames(name: String) throws {
    let header = Self.companions([name])
    let error = try open(PleatText.file(header: header), as: "wrong.pleat")
    #expect(error?.kind == .malformed)
    #expect(error?.what == "the name of a companion file is not usable")
  }

  @Test("a companion may be in the folder of a module or of chat templates, in no file's place")
  func companionFolders() throws {
    let names = ["modules.json", "1_Pooling/config.json", "additional_chat_templates/rag.jinja"]
    let path = try scratch.write(
      PleatText.file(header: Self.companions(names)), as: "folders.pleat")
    #expect(try Model.open(path).catalog.companions.map(\.name) == names)
    for names in [["1_x", "1_x/y"], ["1_x/y", "1_x"], ["1_x/y", "1_x/y"]] {
      let header = Self.companions(names)
      #expect(try open(PleatText.file(header: header), as: "wrong.pleat")?.kind == .malformed)
    }
  }

  @Test("unknown keys of a pleat header are ignored")
  func unknownKeys() throws {
    let header =
      #"{"future":{"deep":[1,2.5,null]},"tensors":[{"name":"a","new":true,"shape":[4],"#
      + #""encoding":{"type":"U8","x":[]},"parts":{"values":{"offset":64,"length":4,"y":"z","#
      + #""crc32c":"\#(PleatText.checksum([1, 2, 3, 4]))"}}}]}"#
    let body = [1, 2, 3, 4] + [UInt8](repeating: 0, count: 60)
    let path = try scratch.write(PleatText.file(header: header, body: body), as: "new.pleat")
    let model = try Model.open(path)
    #expect(try model.partBytes(of: 0) == [[1, 2, 3, 4]])
    #expect(try Verification(of: model).holds)
  }

  @Test("verification finds a byte that is not zero anywhere in a long gap")
  func longGap() throws {
    let tensor =
      #""shape":[4],"encoding":{"type":"U8"},"parts":{"values":{"offset":64,"length":4,"#
      + #""crc32c":"\#(PleatText.checksum([0, 0, 0, 0]))"}}"#
    for offset in [4, 1 << 20, (2 << 20) + 3, (3 << 20) - 1] {
      var body = [UInt8](repeating: 0, count: 3 << 20)
      body[offset] = 1
      let path = try scratch.write(PleatText.file(tensor: tensor, body: body), as: "gap.pleat")
      let faults = try Verification(of: try Model.open(path)).faults
      #expect(faults.map(\.offset) == [64 + offset])
    }
  }

  @Test("random changes of numbers in a pleat header never trap (seed 31)")
  func randomNumbers() throws {
    let source = try SmallModel.safetensors(in: scratch)
    let path = try Rewriting.quantize(source, to: scratch.path("a.pleat"), compresses: true)
    let (header, body) = PleatText.parts(of: try Files.bytes(of: path))
    var random = Seeded(31)
    let choices = ["0", "1", "2", "63", "64", "65", "4294967296", "4611686018427387904", largest()]
    let digits = header.utf8.indices.filter { 48...57 ~= header.utf8[$0] }
    for round in 0..<600 {
      let start = digits[random.below(digits.count)]
      let end = header.utf8[start...].firstIndex { !(48...57 ~= $0) } ?? header.endIndex
      var changed = header
      changed.replaceSubrange(start..<end, with: choices[random.below(choices.count)])
      let bytes = PleatText.file(header: changed, body: body)
      let error = try open(bytes, as: "random.pleat")
      let isExpected = error.map { [.malformed, .unsupported, .limit].contains($0.kind) } ?? true
      #expect(
        isExpected, "round \(round): \(changed[start...].prefix(30)): \(String(describing: error))")
    }
  }

  private func largest() -> String { Self.largest }
}
