internal import Bytes
internal import Kernels
internal import TensorModel

/// The tensors of a quantized layer, and what their extents say.
struct GPTQLayer: Sendable {
  /// The path of the layer.
  let path: String
  /// The index of `qweight`, words down the inputs.
  let codes: Int
  /// The index of `qzeros`, words along the outputs.
  let zeros: Int
  /// The index of `scales`.
  let scales: Int
  /// The index of `g_idx`, where there is one.
  let groupIndex: Int?
  /// Bits of a code.
  let bits: Int
  /// Columns of the weight.
  let inputs: Int
  /// Rows of the weight.
  let outputs: Int
  /// Groups of a row.
  let groupCount: Int
  /// The type of the scales.
  let parameters: ScalarType

  static let codes = ".qweight"
  static let zeros = ".qzeros"
  static let scales = ".scales"
  static let groupIndex = ".g_idx"
  static let weight = ".weight"

  /// More inputs than any model has, whose rows would not fit memory.
  private static let inputLimit = 1 << 21

  /// The layers that stored tensors make up, in the order of their codes or zero points.
  ///
  /// Throws `malformed` when parts are missing or do not fit together.
  static func all(in stored: [StoredTensor]) throws(ModelError) -> [GPTQLayer] {
    let names = StoredNames(stored)
    var layers: [GPTQLayer] = []
    for path in names.layers(endingIn: [codes, zeros]) {
      layers.append(try GPTQLayer(path, stored, names))
    }
    return layers
  }

  private init(
    _ path: String, _ stored: [StoredTensor], _ names: StoredNames
  ) throws(ModelError) {
    let found = try names.parts([Self.codes, Self.zeros, Self.scales], of: path)
    if names[path + Self.weight] != nil {
      throw ModelError(
        .malformed, "a weight is there twice", tensor: path + Self.weight,
        found: "\(path)\(Self.weight) and \(path)\(Self.codes)")
    }
    self.path = path
    (codes, zeros, scales) = (found[0], found[1], found[2])
    groupIndex = names[path + Self.groupIndex]
    let (codes, zeros, scales) = (stored[found[0]], stored[found[1]], stored[found[2]])
    let words: [Encoding] = [.plain(.i32), .plain(.u32)]
    if words.contains(codes.encoding), case .plain(let type) = zeros.encoding,
      Grouping.supportedParameters.contains(type)
    {
      throw ModelError(
        .unsupported, "the zero points are no whole numbers", tensor: zeros.name,
        expected: "I32 words", found: type.name,
        hint: "forks for QA-LoRA write such, with two meanings; quantize the 16-bit model instead")
    }
    guard words.contains(codes.encoding), words.contains(zeros.encoding),
      case .plain(let type) = scales.encoding, Grouping.supportedParameters.contains(type)
    else {
      throw ModelError(
        .malformed, "the tensors of the weight have the wrong types", tensor: codes.name,
        expected: "I32 words, scales in F16, BF16 or F32",
        found: [codes, zeros, scales].map(\.encoding.description).joined(separator: ", "))
    }
    parameters = type
    guard let extents = Self.extents(codes.shape, zeros.shape, scales.shape) else {
      throw ModelError(
        .malformed, "the tensors of the weight do not fit together", tensor: codes.name,
        expected: "words down the inputs, zero points along the outputs, one scale a group",
        found: "\(codes.shape) words, \(zeros.shape) words of zero points, \(scales.shape) scales")
    }
    (bits, inputs, outputs, groupCount) = extents
    if let groupIndex,
      stored[groupIndex].encoding != .plain(.i32)
        || stored[groupIndex].shape.dimensions != [inputs]
    {
      throw ModelError(
        .malformed, "the index of groups does not fit the weight",
        tensor: stored[groupIndex].name, expected: "I32, one number for each of \(inputs) inputs",
        found: "\(stored[groupIndex].encoding), \(stored[groupIndex].shape)")
    }
    guard inputs <= Self.inputLimit else {
      throw ModelError(
        .limit, "a row is too long", tensor: codes.name,
        expected: "at most \(Self.inputLimit) columns", found: "\(inputs)")
    }
  }

  /// What the extents say: a word of zero points is of as many outputs as it has room for.
  private static func extents(
    _ codes: Shape, _ zeros: Shape, _ scales: Shape
  ) -> (bits: Int, inputs: Int, outputs: Int, groups: Int)? {
    guard codes.rank == 2, zeros.rank == 2, scales.rank == 2,
      codes.elementCount > 0, zeros.elementCount > 0, scales.elementCount > 0,
      case let outputs = scales.dimensions[1], codes.dimensions[1] == outputs,
      case let groups = scales.dimensions[0], zeros.dimensions[0] == groups,
      // Whole words: what 32 codes take are as many words as a code has bits.
      let bits = GPTQSpelling.bits.first(where: {
        outputs.multipliedReportingOverflow(by: $0) == (zeros.dimensions[1] * 32, false)
      }),
      case let wordsPerInputs = bits == 3 ? 3 : 1, codes.dimensions[0] % wordsPerInputs == 0,
      case let inputs = codes.dimensions[0] / wordsPerInputs * (32 * wordsPerInputs / bits),
      groups <= inputs, Shape(validating: [outputs, inputs]) != nil
    else { return nil }
    return (bits, inputs, outputs, groups)
  }

  /// The columns of a group, of those that a config allows; nil when none fits.
  func groupSize(of config: GPTQConfig) -> Int? {
    let sizes = config.groupSizes.map { $0 == -1 ? inputs : min($0, inputs) }
    let fitting = sizes.filter { ($0 + inputs - 1) / $0 == groupCount }
    return fitting.first { inputs % $0 == 0 } ?? fitting.first
  }

  /// Whether the groups of the columns are not one run of columns after the other.
  ///
  /// Throws `malformed` for an index of a group that is not there, and what reading throws.
  func isScattered(
    _ groupSize: Int, _ contents: StoredContents
  ) throws(ModelError) -> Bool {
    var isScattered = inputs % groupSize != 0
    guard let groupIndex else { return isScattered }
    let step = 1 << 16
    for first in stride(from: 0, to: inputs, by: step) {
      let count = min(step, inputs - first)
      let groups = Self.groups(
        try contents.bytes(of: groupIndex, 4 * first..<4 * (first + count)))
      for (place, group) in groups.enumerated() {
        guard (0..<groupCount).contains(group) else {
          throw ModelError(
            .malformed, "a column is of a group that is not there", tensor: path + Self.groupIndex,
            expected: "0 to \(groupCount - 1)", found: "\(group) for column \(first + place)")
        }
        if group != (first + place) / groupSize { isScattered = true }
      }
    }
    return isScattered
  }

  /// The numbers of an index.
  static func groups(_ bytes: [UInt8]) -> [Int] {
    stride(from: 0, to: bytes.count, by: 4).map { start in
      let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << (8 * $1) }
      return Int(Int32(bitPattern: bits))
    }
  }

  /// Whether the zero points, or those in the first bytes, are all the central code.
  ///
  /// Throws what reading throws.
  func isCentral(
    _ version: GPTQVersion, _ contents: StoredContents, first limit: Int = .max
  ) throws(ModelError) -> Bool {
    let code = UInt8(1 << (bits - 1) - version.offset)
    var pattern = [UInt8](repeating: 0, count: 4 * bits)
    let codes = [UInt8](repeating: code, count: 32)
    pattern.change(pattern.indices) {
      BitPacking(bits: bits).pack(codes.span, rows: 1, into: &$0)
    }
    let piece = Array(repeatElement(pattern, count: 1 << 14).joined())
    let byteCount = min(contents.tensors[zeros].byteCount, limit)
    for start in stride(from: 0, to: byteCount, by: piece.count) {
      let end = min(start + piece.count, byteCount)
      let bytes = try contents.bytes(of: zeros, start..<end)
      guard bytes == (bytes.count == piece.count ? piece : Array(piece[..<bytes.count])) else {
        return false
      }
    }
    return true
  }
}
