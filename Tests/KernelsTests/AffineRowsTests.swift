import Kernels
import TestSupport
import Testing

@Suite struct AffineRowsTests {
  static let superBlocks: [BlockType] = [.q2_K, .q4_K, .q5_K]
  static let groups: [BlockType] = [.q4_1, .q5_1]

  /// A golden file, made by fixtures/generate/ggml_rows.py with ggml.
  private func golden(_ name: String) throws -> [UInt8] {
    try Fixtures.bytes("golden/ggml_rows/\(name)")
  }

  @Test(
    "rows have the bytes of ggml",
    arguments: InstructionSet.available,
    BlockType.allCases.filter(\.isEncodable))
  func goldenRows(set: InstructionSet, type: BlockType) throws {
    let values = try FloatFormat.float32.decode(golden("values.f32"), on: .portable)
    let importance = try FloatFormat.float32.decode(golden("importance.f32"), on: .portable)
    let name = "\(type)".uppercased()
    let plain = try type.encodeRows(values, columnCount: importance.count, on: set).get()
    #expect(plain == (try golden("\(name).plain")))
    let weighted = try type.encodeRows(
      values, columnCount: importance.count, importance: importance, on: set
    ).get()
    #expect(weighted == (try golden("\(name).weighted")))
  }

  @Test("super-blocks match their plain twin (seed 151)", arguments: superBlocks)
  func twin(type: BlockType) throws {
    // Neither the blocks of a row nor all blocks fill a batch.
    let values = SampleRows.values(columnCount: 768, seed: 151)
    let expected = try AffineRowsTwin(type: type)
      .encode(values, columnCount: 768, importance: []).get()
    for set in InstructionSet.available {
      #expect(type.encodeRows(values, columnCount: 768, on: set) == .success(expected))
    }
  }

  @Test(
    "blocks with importance match their plain twin (seed 152)", arguments: superBlocks + groups)
  func weightedTwin(type: BlockType) throws {
    let columns = type.elementCount == 256 ? 256 : 96
    let values = SampleRows.values(columnCount: columns, seed: 152)
    for importance in SampleRows.importances(columnCount: columns, seed: 153) {
      let expected = try AffineRowsTwin(type: type)
        .encode(values, columnCount: columns, importance: importance).get()
      for set in InstructionSet.available {
        let found = try type.encodeRows(
          values, columnCount: columns, importance: importance, on: set
        ).get()
        #expect(found == expected)
      }
    }
  }

  @Test(
    "a value that is not finite is reported with its block (seed 154)",
    arguments: InstructionSet.available, superBlocks + groups)
  func nonFinite(set: InstructionSet, type: BlockType) {
    var random = Seeded(154)
    let size = type.elementCount
    let values = random.weights(35 * size)
    let importance = [Float](repeating: 1, count: 5 * size)
    for block in [0, 1, 15, 16, 33, 34] {
      for value: Float in [.nan, -.nan, .infinity, -.infinity] {
        var broken = values
        broken[block * size + size / 2] = value
        broken[35 * size - 1] = .nan
        let fault = GroupFault(kind: .nonFiniteValue, group: block)
        #expect(
          type.encodeRows(broken, columnCount: 5 * size, importance: importance, on: set)
            == .failure(fault))
        #expect(type.encodeRows(broken, columnCount: 5 * size, on: set) == .failure(fault))
      }
    }
  }

  @Test(
    "a parameter that overflows its format is reported", arguments: InstructionSet.available,
    superBlocks + groups)
  func overflow(set: InstructionSet, type: BlockType) {
    let size = type.elementCount
    let importance = [Float](repeating: 1, count: size)
    for value: Float in [-1e30, 1e30, .greatestFiniteMagnitude] {
      var values = [Float](repeating: 1, count: 20 * size)
      for i in stride(from: 17 * size, to: 18 * size, by: 3) { values[i] = value }
      let fault = GroupFault(kind: .parameterOverflow, group: 17)
      #expect(
        type.encodeRows(values, columnCount: size, importance: importance, on: set)
          == .failure(fault))
      #expect(type.encodeRows(values, columnCount: size, on: set) == .failure(fault))
    }
  }

  @Test("groups without importance are those of encode (seed 155)", arguments: [3, 200])
  func plainGroups(rowCount: Int) throws {
    var random = Seeded(155)
    for type in BlockEncodingTests.types {
      let values = random.weights(rowCount * 96)
      let encoded = try type.encode(values, on: .best).get()
      var blocks = [UInt8](repeating: 0xaa, count: rowCount * 3 * type.byteCount)
      var span = blocks.mutableSpan
      var raw = span.mutableBytes
      let scales = encoded.scales.map(Float.init(bitPattern:))
      if type.hasBias {
        let biases = encoded.biases.map(Float.init(bitPattern:))
        type.pack(
          codes: encoded.codes.span, scales: scales.span, biases: biases.span, into: &raw)
      } else {
        type.pack(codes: encoded.codes.span, scales: scales.span, into: &raw)
      }
      #expect(type.encodeRows(values, columnCount: 96, on: .best) == .success(blocks))
    }
  }

  @Test(
    "encoding no rows succeeds", arguments: InstructionSet.available, superBlocks + groups)
  func empty(set: InstructionSet, type: BlockType) {
    #expect(type.encodeRows([], columnCount: 256, on: set) == .success([]))
  }
}
