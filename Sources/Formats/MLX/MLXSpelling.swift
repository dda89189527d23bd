package import Bytes
package import TensorModel

/// The spelling of MLX: a grouped weight is `weight` with its codes, `scales` and `biases`; how many
/// bits and columns is in `config.json` alone.
package struct MLXSpelling: Spelling {
  /// The groups of a model that is read; nil for one that is written, whose tensors tell.
  private let quantization: MLXQuantization?
  /// Codes, scales and biases lie in their tensors as in the parts of a pleat file.
  private let parts = PackedSpelling()

  /// The spelling for writing.
  package init() { quantization = nil }

  private init(_ quantization: MLXQuantization) { self.quantization = quantization }

  static let bits = [2, 3, 4, 5, 6, 8]
  static let groupSizes = [64, 32, 128]

  package func configured(
    by config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> (any Spelling)? {
    guard let quantization = try MLXQuantization(config) else { return nil }
    return MLXSpelling(quantization)
  }

  package var configurationKeys: [String] { MLXQuantization.keys }

  package func configuration(
    _ config: JSONValue?, for tensors: [TensorInfo]
  ) throws(ModelError) -> JSONValue? {
    try QuantizationConfig.describing(
      config, as: MLXQuantization.describe(tensors), under: MLXQuantization.keys, of: "mlx")
  }

  package func admits(_ info: TensorInfo) -> Admission {
    switch info.encoding {
    case .plain(.f64): return .refused("mlx has no type F64")
    case .plain: return .exact
    case .foreign(let type): return .refused("mlx has no type \(type.name)")
    case .grouped(let grouping):
      guard !grouping.isScattered else {
        return .refused("mlx has groups of neighbouring columns, found \(grouping)")
      }
      guard grouping.offset == .bias else {
        return .refused("mlx has a bias for each group, found \(grouping)")
      }
      guard Self.bits.contains(grouping.bits), Self.groupSizes.contains(grouping.groupSize) else {
        return .refused(
          "mlx has groups of \(Self.groupSizes.sorted().map(String.init).joined(separator: ", ")), "
            + "found \(grouping)")
      }
      guard info.name.isEmpty || info.name.hasSuffix(Self.weight) else {
        return .refused("mlx quantizes tensors that are called weight")
      }
      return .exact
    }
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    guard case .grouped(let grouping) = info.encoding else { return plainParts(of: info) }
    let path = Self.module(of: info.name)
    let columns = info.shape.columnCount
    let groups = columns / grouping.groupSize
    func part(_ name: String, _ role: PartRole, _ columns: Int, _ type: ScalarType) -> StoredTensor
    {
      let dimensions = info.shape.dimensions.dropLast() + [columns]
      return StoredTensor(
        name: path + name, role: role,
        shape: Shape(validating: Array(dimensions)) ?? info.shape, encoding: .plain(type),
        rowByteCount: columns * type.bitWidth / 8, byteCount: nil)
    }
    return [
      part(Self.weight, .codes, columns * grouping.bits / 32, .u32),
      part(Self.scales, .scales, groups, grouping.parameters),
      part(Self.biases, .biases, groups, grouping.parameters),
    ]
  }

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    let stored = contents.tensors
    let names = StoredNames(stored)
    var weights: [Int: GatheredTensor] = [:]
    // Words without scales and biases are numbers like others.
    for path in names.layers(endingIn: [Self.scales, Self.biases]) {
      let found = try names.parts([Self.weight, Self.scales, Self.biases], of: path)
      let info = try info(stored[found[0]], stored[found[1]], stored[found[2]], path)
      weights[found[0]] = GatheredTensor(info: info, parts: found)
    }
    return contents.gathered(weights)
  }

  /// The weight that three tensors make up.
  ///
  /// Throws `malformed` when their shapes do not fit what the config says.
  private func info(
    _ codes: StoredTensor, _ scales: StoredTensor, _ biases: StoredTensor, _ path: String
  ) throws(ModelError) -> TensorInfo {
    guard let groups = quantization?.groups(of: path) else {
      throw ModelError(
        .malformed, "the config does not say how the weight is quantized", tensor: codes.name,
        expected: "group_size and bits")
    }
    guard codes.encoding == .plain(.u32), scales.encoding == biases.encoding,
      case .plain(let type) = scales.encoding, Grouping.supportedParameters.contains(type)
    else {
      throw ModelError(
        .malformed, "the tensors of the weight have the wrong types", tensor: codes.name,
        expected: "U32 words, scales and biases both F16, BF16 or F32",
        found: [codes, scales, biases].map(\.encoding.description).joined(separator: ", "))
    }
    // Whole words: 32 codes take as many words as a code has bits.
    let columns = codes.shape.columnCount / groups.bits * 32
    let outer = codes.shape.dimensions.dropLast()
    guard scales.shape == biases.shape, scales.shape.dimensions.dropLast() == outer,
      codes.shape.rank >= 2, columns > 0, codes.shape.columnCount % groups.bits == 0,
      columns % groups.size == 0, columns / groups.size == scales.shape.columnCount,
      let shape = Shape(validating: outer + [columns])
    else {
      throw ModelError(
        .malformed, "the tensors of the weight do not fit the bits and groups of the config",
        tensor: codes.name,
        expected: "\(groups.bits)-bit codes, \(scales.shape) scales of \(groups.size) columns",
        found: "\(codes.shape) words, \(scales.shape) scales, \(biases.shape) biases")
    }
    let grouping = Grouping(
      bits: groups.bits, groupSize: groups.size, offset: .bias, parameters: type)
    return TensorInfo(name: codes.name, shape: shape, encoding: .grouped(grouping))
  }

  package func spell(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    self.parts.spell(rows, into: &parts, firstRow: firstRow)
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    self.parts.read(parts, firstRow: firstRow, into: rows)
  }

  package func biasField(of grouping: Grouping) -> ParameterField? {
    parts.biasField(of: grouping)
  }

  // MARK: - Names

  static let weight = ".weight"
  private static let scales = ".scales"
  private static let biases = ".biases"

  /// The path of the layer that a weight belongs to.
  static func module(of name: String) -> String { String(name.dropLast(weight.count)) }
}
