import Bytes
import Formats
import Kernels
import LawSupport
import TensorModel
import TestSupport
import Testing

/// The weight codec of every format reads back what it wrote, for all groupings that it admits.
@Suite struct CodecLawTests {
  static let groupings = Every.triple(
    of: Grouping.supportedBits, [16, 32, 48, 64, 96, 128, 256], Grouping.supportedParameters
  ).flatMap { bits, size, parameters in
    Grouping.Offset.allCases.map {
      Grouping(bits: bits, groupSize: size, offset: $0, parameters: parameters)
    }
  }

  private static let rowCount = 5
  /// At least three whole steps of every format that packs rows together.
  private static let stepRowCount = 96

  private static func info(_ grouping: Grouping, rowCount: Int = rowCount) -> TensorInfo {
    TensorInfo(
      name: "w.weight", shape: Shape(rowCount, 2 * grouping.groupSize),
      encoding: .grouped(grouping))
  }

  private static func rows(_ grouping: Grouping, rowCount: Int, seed: UInt64) -> GroupedRows {
    GroupedRows(grouping, columnCount: 2 * grouping.groupSize, rowCount: rowCount, seed: seed)
  }

  /// Whether a format admits a weight of whole steps of rows, according to its runtimes.
  private static func isAdmitted(_ grouping: Grouping, by format: Format) -> Bool {
    let (bits, size, offset) = (grouping.bits, grouping.groupSize, grouping.offset)
    switch format.name {
    case "safetensors": return false
    case "gguf": return size % 32 == 0 && (offset == .none || offset == .bias && bits <= 5)
    case "mlx": return offset == .bias && [32, 64, 128].contains(size)
    case "gptq", "gptq-v1":
      return offset != .bias && [2, 3, 4, 8].contains(bits)
        && [16, 32, 64, 128, 256].contains(size)
    case "awq": return offset == .zeroPoint && bits == 4 && [32, 64, 128].contains(size)
    case "compressed-tensors": return offset != .bias
    case "pleat": return true
    default:
      Issue.record("\(format.name) has no case here")
      return false
    }
  }

  @Test("every format admits exactly the groupings that its runtimes read", arguments: groupings)
  func admission(grouping: Grouping) {
    for format in Formats.all {
      let found = format.admission(of: Self.info(grouping, rowCount: Self.stepRowCount))
      let isRefused = if case .refused = found { true } else { false }
      #expect(isRefused != Self.isAdmitted(grouping, by: format), "\(format.name)")
    }
  }

  @Test("the codec of every format keeps the weight codec law (seed 7)", arguments: groupings)
  func law(grouping: Grouping) throws {
    for format in Formats.all where Self.isAdmitted(grouping, by: format) {
      let counts = [Self.rowCount, Self.stepRowCount, Self.stepRowCount + Self.rowCount]
      // If rows share words, a weight must have whole steps of rows.
      let admitted = counts.filter { rowCount in
        let admission = format.admission(of: Self.info(grouping, rowCount: rowCount))
        let isRefused = if case .refused = admission { true } else { false }
        return !isRefused
      }
      #expect(admitted.contains(Self.stepRowCount), "\(format.name)")
      for rowCount in admitted {
        try WeightCodecLaw.check(format, Self.rows(grouping, rowCount: rowCount, seed: 7))
      }
    }
  }

  @Test("a pleat file stores codes and parameters exactly (seed 8)", arguments: groupings)
  func packedIsExact(grouping: Grouping) {
    let info = Self.info(grouping)
    let rows = Self.rows(grouping, rowCount: Self.rowCount, seed: 8)
    let codec = PleatFileCodec()
    #expect(Format.pleat.admission(of: info) == .exact)
    let stored = codec.parts(of: info)
    let offsets: [Grouping.Offset: [PartRole]] = [.bias: [.biases], .zeroPoint: [.zeros]]
    #expect(stored.map(\.role) == [.codes, .scales] + (offsets[grouping.offset] ?? []))
    var parts = stored.map { [UInt8](repeating: 0xaa, count: $0.byteCount) }
    codec.write(rows, into: &parts, firstRow: 0)
    #expect(parts[1] == Numbers.bytes(rows.scales, grouping.parameters))
    if grouping.offset == .bias {
      #expect(parts[2] == Numbers.bytes(rows.biases, grouping.parameters))
    }
    if grouping.offset == .zeroPoint { #expect(parts[2] == rows.zeros.map { UInt8($0) }) }
    let again = GroupedRows(
      grouping: grouping, columnCount: rows.columnCount, rowCount: rows.rowCount)
    codec.read(parts, firstRow: 0, into: again)
    #expect(again.codes == rows.codes)
    #expect(again.scales.bits == rows.scales.bits)
    #expect(again.biases.bits == rows.biases.bits)
    #expect(again.zeros == rows.zeros)
  }

  @Test("gguf admits groups of whole blocks whose codes fit a GGML type", arguments: groupings)
  func ggmlAdmission(grouping: Grouping) {
    let fits =
      grouping.groupSize % 32 == 0 && grouping.offset != .zeroPoint
      && (grouping.offset == .none || grouping.bits <= 5)
    let expected = !fits ? "refused" : grouping.parameters == .f16 ? "exact" : "rounded"
    let found =
      switch Format.gguf.admission(of: Self.info(grouping)) {
      case .exact: "exact"
      case .rounded: "rounded"
      case .refused: "refused"
      }
    #expect(found == expected)
  }

  @Test("mlx admits groups of 32, 64 and 128 with biases, exactly", arguments: groupings)
  func mlxAdmission(grouping: Grouping) {
    let fits = grouping.offset == .bias && [32, 64, 128].contains(grouping.groupSize)
    #expect((Format.mlx.admission(of: Self.info(grouping)) == .exact) == fits)
    guard fits else { return }
    // Scales and biases can be stored only beside a tensor with the suffix .weight.
    let info = TensorInfo(
      name: "experts.up", shape: Shape(2, 128), encoding: .grouped(grouping))
    #expect(Format.mlx.admission(of: info) != .exact)
  }

  @Test(
    "gptq admits whole steps of rows with the group sizes of its runtimes", arguments: groupings)
  func gptqAdmission(grouping: Grouping) {
    let fits =
      [2, 3, 4, 8].contains(grouping.bits) && grouping.offset != .bias
      && [16, 32, 64, 128, 256].contains(grouping.groupSize)
    for format in [Format.gptq, .gptqV1] {
      let found = format.admission(of: Self.info(grouping, rowCount: Self.stepRowCount))
      if case .refused = found { #expect(!fits) } else { #expect(fits) }
      #expect((found == .exact) == (fits && grouping.parameters == .f16))
      guard case .refused = format.admission(of: Self.info(grouping)) else {
        Issue.record("\(format.name) admits 5 rows, which do not fill whole words")
        continue
      }
    }
    let stack = TensorInfo(
      name: "experts.weight", shape: Shape(2, 32, 2 * grouping.groupSize),
      encoding: .grouped(grouping))
    guard case .refused = Format.gptq.admission(of: stack) else {
      Issue.record("gptq admits a stack")
      return
    }
  }

  @Test("only gptq admits scattered groups", arguments: groupings)
  func scattered(grouping: Grouping) {
    var grouping = grouping
    grouping.isScattered = true
    for format in Formats.all where !(format.codec is GPTQCodec) {
      guard case .refused = format.admission(of: Self.info(grouping)) else {
        Issue.record("\(format.name) admits \(grouping)")
        continue
      }
    }
  }

  @Test("safetensors admits no groups", arguments: groupings)
  func plainAdmission(grouping: Grouping) {
    guard case .refused = Format.safetensors.admission(of: Self.info(grouping)) else {
      Issue.record("safetensors admits \(grouping)")
      return
    }
  }

  @Test(
    "a plain tensor has itself as its only part in every format that admits it",
    arguments: Formats.all)
  func plainParts(format: Format) throws {
    for type in ScalarType.allCases {
      for shape in [Shape(), Shape(8), Shape(3, 8), Shape(2, 1, 8), Shape(0, 8)] {
        let info = TensorInfo(name: "t", shape: shape, encoding: .plain(type))
        guard format.admission(of: info) == .exact else {
          #expect(format == .gguf || format == .mlx && type == .f64)
          continue
        }
        let parts = format.codec.parts(of: info)
        guard let byteCount = type.byteCount(of: shape.elementCount) else {
          #expect(parts.isEmpty)
          continue
        }
        #expect(parts.map(\.byteCount) == [byteCount])
        #expect(
          try format.codec.gather(StoredContents(parts) { (_, _) in [] }).map(\.info) == [info])
      }
    }
  }
}
