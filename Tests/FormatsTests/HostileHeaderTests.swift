import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Headers that were made to hurt: their checksums hold, and their numbers lie.
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

  /// Members of a tensor, each wrong in one way; the file's data is 64 bytes long.
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
      "no rows of endless columns",
      #""shape":[0,4611686018427387904],\#(grouped)"parts":{"codes":\#(PleatText.nothing),"#
        + #""scales":\#(PleatText.nothing),"biases":\#(PleatText.nothing)}"#
    ),
    (
      "the group does not divide the rows",
      #""shape":[1,33],\#(grouped)"parts":{"codes":\#(PleatText.nothing),"#
        + #""scales":\#(PleatText.nothing),"biases":\#(PleatText.nothing)}"#
    ),
    (
      "seven bits",
      #""shape":[1,32],"encoding":{"bits":7,"groupSize":32,"offset":"none","parameters":"F16"},"#
        + #""parts":{"codes":\#(PleatText.nothing),"scales":\#(PleatText.nothing)}"#
    ),
    (
      "groups of nothing",
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

  @Test("a pleat header that lies about a tensor is malformed", arguments: tensors)
  func lyingTensors(what: String, members: String) throws {
    let bytes = PleatText.file(tensor: members, body: [UInt8](repeating: 0, count: 64))
    #expect(try open(bytes, as: "lie.pleat")?.kind == .malformed)
  }

  /// Frames of a part of 16 bytes, each wrong in one way.
  static let frames: [(String, String)] = [
    ("no block", #""block":0,"planes":1,"frames":[64,16]"#),
    ("no block size", #""planes":1,"frames":[64,16]"#),
    ("no plane", #""block":16,"planes":0,"frames":[64]"#),
    ("three planes", #""block":16,"planes":3,"frames":[64,4,4,4]"#),
    ("too few numbers", #""block":16,"planes":1,"frames":[64]"#),
    ("too many blocks", #""block":16,"planes":1,"frames":[64,8,80,8]"#),
    ("too few blocks", #""block":8,"planes":1,"frames":[64,8]"#),
    ("a frame of nothing", #""block":16,"planes":1,"frames":[64,0]"#),
    ("a frame larger than its block", #""block":16,"planes":1,"frames":[64,17]"#),
    ("a frame in the preamble", #""block":16,"planes":1,"frames":[0,16]"#),
    ("a frame beyond the data", #""block":16,"planes":1,"frames":[120,16]"#),
    ("a frame at the end of numbers", #""block":16,"planes":1,"frames":[\#(largest),16]"#),
    (
      "a second plane that overflows",
      #""block":16,"planes":2,"frames":[9223372036854775800,8,8]"#
    ),
    ("an odd block for two planes", #""block":15,"planes":2,"frames":[64,7,7,64,1,1]"#),
    ("overlapping frames", #""block":8,"planes":1,"frames":[64,8,68,8]"#),
    ("a frame that is not zstd", #""block":16,"planes":1,"frames":[64,9]"#),
  ]

  @Test("frames that do not make up their part are malformed", arguments: frames)
  func lyingFrames(what: String, members: String) throws {
    let tensor =
      #""shape":[4],"encoding":{"type":"F32"},"#
      + #""parts":{"values":{"length":16,\#(members),"crc32c":"00000000"}}"#
    let bytes = PleatText.file(tensor: tensor, body: [UInt8](repeating: 1, count: 64))
    #expect(try open(bytes, as: "lie.pleat")?.kind == .malformed)
  }

  /// Whole headers, each wrong in one way, and the kind of error.
  static let headers: [(String, String, ModelError.Kind)] = [
    (
      "endless companion",
      #"{"companions":[{"name":"c","length":\#(largest),"block":64,"planes":1,"frames":[],"#
        + #""crc32c":"00000000"}],"tensors":[]}"#, .malformed
    ),
    (
      "companion that leads elsewhere",
      #"{"companions":[{"name":"../c","offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "companion in a folder",
      #"{"companions":[{"name":"a/c","offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "companion without a name",
      #"{"companions":[{"offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "the same companion twice",
      #"{"companions":[{"name":"c","offset":64,"length":0,"crc32c":"00000000"},"#
        + #"{"name":"c","offset":64,"length":0,"crc32c":"00000000"}]}"#, .malformed
    ),
    (
      "metadata that is not there",
      #"{"metadata":{"count":1,"offset":64,"length":0,"crc32c":"00000000"}}"#, .malformed
    ),
    (
      "endless metadata",
      #"{"metadata":{"count":\#(largest),"offset":64,"length":64,"crc32c":"00000000"}}"#, .limit
    ),
    ("a feature of the future", #"{"requires":["teleport"],"tensors":[]}"#, .unsupported),
    (
      "the same tensor twice",
      #"{"tensors":[{"name":"a","shape":[0],"encoding":{"type":"U8"},"parts":{"values":"#
        + #"\#(PleatText.nothing)}},{"name":"a","shape":[0],"encoding":{"type":"U8"},"#
        + #""parts":{"values":\#(PleatText.nothing)}}]}"#, .malformed
    ),
    (
      "two parts in one place",
      #"{"tensors":[{"name":"a","shape":[4],"encoding":{"type":"U8"},"parts":{"values":"#
        + #"{"offset":64,"length":4,"crc32c":"00000000"}}},{"name":"b","shape":[4],"#
        + #""encoding":{"type":"U8"},"parts":{"values":"#
        + #"{"offset":64,"length":4,"crc32c":"00000000"}}}]}"#, .malformed
    ),
    ("no object", "[]", .malformed),
    ("something after the object", "{}{}", .malformed),
    ("nothing", "", .malformed),
    ("deep nesting", #"{"x":"# + String(repeating: "[", count: 100_000), .limit),
  ]

  @Test("a pleat header that makes no sense is refused", arguments: headers.map(\.0))
  func lyingHeaders(what: String) throws {
    let (_, header, kind) = try #require(Self.headers.first { $0.0 == what })
    let bytes = PleatText.file(header: header, body: [UInt8](repeating: 0, count: 64))
    #expect(try open(bytes, as: "lie.pleat")?.kind == kind)
  }

  @Test("unknown keys of a pleat header are passed over")
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

  @Test("a byte that is not zero is found anywhere in a long space between parts")
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

  @Test("numbers of a pleat header that are changed at random never trap (seed 31)")
  func randomNumbers() throws {
    let source = try SmallModel.safetensors(in: scratch)
    let path = try Rewriting.quantize(source, to: scratch.path("a.pleat"), compresses: true)
    let (header, body) = PleatText.parts(of: try Files.bytes(of: path))
    var random = Seeded(31)
    let choices = ["0", "1", "2", "63", "64", "65", "4294967296", "4611686018427387904", largest()]
    let digits = header.utf8.indices.filter { 48...57 ~= header.utf8[$0] }
    for round in 0..<600 {
      let place = digits[random.below(digits.count)]
      let end = header.utf8[place...].firstIndex { !(48...57 ~= $0) } ?? header.endIndex
      var changed = header
      changed.replaceSubrange(place..<end, with: choices[random.below(choices.count)])
      let bytes = PleatText.file(header: changed, body: body)
      let error = try open(bytes, as: "random.pleat")
      let isCalm = error.map { [.malformed, .unsupported, .limit].contains($0.kind) } ?? true
      #expect(
        isCalm, "round \(round): \(changed[place...].prefix(30)): \(String(describing: error))")
    }
  }

  private func largest() -> String { Self.largest }
}
