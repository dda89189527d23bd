internal import Bytes
internal import Kernels
internal import TensorModel

/// The tensors of a quantized layer, and the properties that follow from their shapes.
struct GPTQLayer: Sendable {
  /// The path of the layer.
  let path: String
  /// The index of `qweight`, which packs codes along the inputs.
  let codes: Int
  /// The index of `qzeros`, which packs zero points along the outputs.
  let zeros: Int
  /// The index of `scales`.
  let scales: Int
  /// The index of `g_idx`; nil if there is none.
  let groupIndex: Int?
  /// The width of a code in bits.
  let bits: Int
  /// The number of columns of the weight.
  let inputs: Int
  /// The number of rows of the weight.
  let outputs: Int
  /// The number of groups in a row.
  let groupCount: Int
  /// The type of the scales.
  let parameters: ScalarType

  static let codes = ".qweight"
  static let zeros = ".qzeros"
  static let scales = ".scales"
  static let groupIndex = ".g_idx"
  static let weight = ".weight"

  /// The limit for inputs, which no known model reaches; longer rows might not fit memory.
  private static let inputLimit = 1 << 21

  /// The layers of some stored tensors, in the order of their codes or zero points.
  ///
  /// Throws `malformed` if parts are missing or do not fit together, `unsupported` for words and
  /// zero points of other tools, and `limit` for rows that are too long.
  static func all(in stored: [StoredTensor]) throws(ModelError) -> [GPTQLayer] {
    let names = StoredNames(stored)
    var layers: [GPTQLayer] = []
    for path in names.layerPaths(endingIn: [codes, zeros]) {
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
        .malformed, "the weight is stored twice", tensor: path + Self.weight,
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
        .unsupported, "the zero points are not whole numbers", tensor: zeros.name,
        expected: "I32 words", found: type.name,
        hint: "forks for QA-LoRA write these, with two meanings; quantize the 16-bit model instead")
    }
    guard words.contains(codes.encoding), words.contains(zeros.encoding),
      case .plain(let type) = scales.encoding, Grouping.supportedParameters.contains(type)
    else {
      throw ModelError(
        .unsupported, "the tensors of the weight do not have the types of GPTQ", tensor: codes.name,
        expected: "I32 words, scales in F16, BF16 or F32",
        found: [codes, zeros, scales].map(\.encoding.description).joined(separator: ", "),
        hint: "another tool packed them: start from the 16-bit model")
    }
    parameters = type
    guard let extents = Self.extents(codes.shape, zeros.shape, scales.shape) else {
      throw ModelError(
        .malformed, "the tensors of the weight do not fit together", tensor: codes.name,
        expected: "codes packed along inputs, zero points along outputs, one scale for each group",
        found: "\(codes.shape) words, \(zeros.shape) words of zero points, \(scales.shape) scales")
    }
    (bits, inputs, outputs, groupCount) = extents
    if let groupIndex,
      stored[groupIndex].encoding != .plain(.i32)
        || stored[groupIndex].shape.dimensions != [inputs]
    {
      throw ModelError(
        .malformed, "the group index does not fit the weight",
        tensor: stored[groupIndex].name, expected: "I32, one number for each of \(inputs) inputs",
        found: "\(stored[groupIndex].encoding), \(stored[groupIndex].shape)")
    }
    guard inputs <= Self.inputLimit else {
      throw ModelError(
        .limit, "a row is too long", tensor: codes.name,
        expected: "at most \(Self.inputLimit) columns", found: "\(inputs)")
    }
  }

  /// The properties of a layer that follow from the shapes of its tensors; nil if these disagree.
  ///
  /// Zero points fill their words. So the words of zero points and the outputs give the width.
  private static func extents(
    _ codes: Shape, _ zeros: Shape, _ scales: Shape
  ) -> (bits: Int, inputs: Int, outputs: Int, groups: Int)? {
    guard codes.rank == 2, zeros.rank == 2, scales.rank == 2,
      codes.elementCount > 0, zeros.elementCount > 0, scales.elementCount > 0,
      case let outputs = scales.dimensions[1], codes.dimensions[1] == outputs,
      case let groups = scales.dimensions[0], zeros.dimensions[0] == groups,
      // 32 codes of b bits take b words.
      let bits = GPTQCodec.bits.first(where: {
        outputs.multipliedReportingOverflow(by: $0) == (zeros.dimensions[1] * 32, false)
      }),
      case let wordsPerInputs = bits == 3 ? 3 : 1, codes.dimensions[0] % wordsPerInputs == 0,
      case let inputs = codes.dimensions[0] / wordsPerInputs * (32 * wordsPerInputs / bits),
      groups <= inputs, Shape(validating: [outputs, inputs]) != nil
    else { return nil }
    return (bits, inputs, outputs, groups)
  }

  /// The group size in columns, out of those that a config allows; nil if none fits.
  ///
  /// A size that divides the inputs is preferred.
  func groupSize(of config: GPTQConfig) -> Int? {
    let sizes = config.groupSizes.map { $0 == -1 ? inputs : min($0, inputs) }
    let fitting = sizes.filter { ($0 + inputs - 1) / $0 == groupCount }
    return fitting.first { inputs % $0 == 0 } ?? fitting.first
  }

  /// Whether the groups are not consecutive runs of `groupSize` columns.
  ///
  /// Throws `malformed` for a group number that does not exist, and what reading throws.
  func isScattered(
    _ groupSize: Int, _ contents: StoredContents
  ) throws(ModelError) -> Bool {
    var isScattered = inputs % groupSize != 0
    guard let groupIndex else { return isScattered }
    let step = 1 << 16
    for first in stride(from: 0, to: inputs, by: step) {
      let count = min(step, inputs - first)
      let groups = GroupIndex.numbers(
        try contents.bytes(of: groupIndex, 4 * first..<4 * (first + count)))
      for (position, group) in groups.enumerated() {
        guard (0..<groupCount).contains(group) else {
          throw ModelError(
            .malformed, "the group index names a group that does not exist",
            tensor: path + Self.groupIndex, expected: "0 to \(groupCount - 1)",
            found: "\(group) for column \(first + position)")
        }
        if group != (first + position) / groupSize { isScattered = true }
      }
    }
    return isScattered
  }

  /// Whether all zero points, as `version` stores them, equal the central code.
  ///
  /// Only the first `limit` bytes are examined. Throws what reading throws.
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
