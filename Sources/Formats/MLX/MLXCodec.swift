internal import Bytes
package import TensorModel

/// The codec of MLX folders.
///
/// A grouped weight consists of `weight`, which contains the codes, `scales` and `biases`. The
/// tensors determine the product of code width and group size; `config.json` states both.
package struct MLXCodec: WeightCodec {
  /// The config of a model that is read; nil for writing.
  private let config: MLXConfig?
  /// Codes, scales and biases have the same bytes as in the parts of a pleat file.
  private let parts = PleatFileCodec()

  /// Creates the codec for writing.
  package init() { config = nil }

  /// Creates the codec for reading a model with a config.
  init(_ config: MLXConfig) { self.config = config }

  static let bits = [2, 3, 4, 5, 6, 8]
  static let groupSizes = [64, 32, 128]

  package var groupedNameEnding: String? { Self.weight }

  package func admission(of encoding: Encoding) -> Admission {
    switch encoding {
    case .plain(.f64): return .refused("mlx has no type F64")
    case .plain: return .exact
    case .foreign(let type): return .refused("mlx has no type \(type.name)")
    case .scaled(let codes):
      return ScaledMode(codes) == nil ? .refused("mlx has no mode for \(codes)") : .exact
    case .grouped(let grouping):
      guard !grouping.isScattered else {
        return .refused("mlx supports only groups of neighbouring columns, found \(grouping)")
      }
      guard grouping.offset == .bias else {
        return .refused("mlx needs a bias for each group, found \(grouping)")
      }
      guard Self.bits.contains(grouping.bits), Self.groupSizes.contains(grouping.groupSize) else {
        let sizes = Self.groupSizes.sorted().map(String.init).joined(separator: ", ")
        return .refused("mlx supports groups of \(sizes), found \(grouping)")
      }
      return .exact
    }
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    let columns = info.shape.columnCount
    func part(_ name: String, _ role: PartRole, _ columns: Int, _ type: ScalarType) -> StoredTensor
    {
      let dimensions = info.shape.dimensions.dropLast() + [columns]
      let shape = Shape(validating: Array(dimensions)) ?? info.shape
      let rowByteCount = columns * type.bitWidth / 8
      return StoredTensor(
        partOf: info.name, .init(name, replacing: Self.weight), role: role, shape: shape,
        encoding: .plain(type),
        rows: RowLayout(rowByteCount: rowByteCount, byteCount: rowByteCount * shape.rowCount))
    }
    switch info.encoding {
    case .grouped(let grouping):
      let groups = columns / grouping.groupSize
      return [
        part(Self.weight, .codes, columns * grouping.bits / 32, .u32),
        part(Self.scales, .scales, groups, grouping.parameters),
        part(Self.biases, .biases, groups, grouping.parameters),
      ]
    case .scaled(let codes):
      return [
        part(Self.weight, .codes, columns * codes.bitWidth / 32, .u32),
        part(Self.scales, .scales, columns / (codes.tileColumns ?? columns), .u8),
      ]
    case .plain, .foreign: return plainParts(of: info)
    }
  }

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    let stored = contents.tensors
    let names = StoredNames(stored)
    var weights: [Int: GatheredTensor] = [:]
    // U32 tensors without scales and biases are plain numbers.
    for path in names.layerPaths(endingIn: [Self.scales, Self.biases]) {
      // Modes without biases are read as scaled weights.
      if let scales = names[path + Self.scales], stored[scales].encoding == .plain(.u8),
        names[path + Self.biases] == nil
      {
        continue
      }
      let found = try names.parts([Self.weight, Self.scales, Self.biases], of: path)
      let known = config?.columnCount(of: path) { path in
        names[path + Self.weight].flatMap { stored[$0].shape.dimensions.dropLast().last }
      }
      let info = try info(
        stored[found[0]], stored[found[1]], stored[found[2]], path, columnCount: known)
      weights[found[0]] = GatheredTensor(info: info, parts: found)
    }
    return contents.gathered(weights)
  }

  /// The weight that three tensors make up.
  ///
  /// If the number of columns is known, bits and groups follow from it, as in mlx-lm. Throws
  /// `malformed` if types or shapes do not fit the config.
  private func info(
    _ codes: StoredTensor, _ scales: StoredTensor, _ biases: StoredTensor, _ path: String,
    columnCount: Int?
  ) throws(ModelError) -> TensorInfo {
    let fitting = columnCount.flatMap { Self.groups(of: codes, scales, columnCount: $0) }
    guard let groups = fitting ?? config?.groups(of: path) else {
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
    let columns = Self.columnCount(of: codes, bits: groups.bits)
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

  // 32 codes of b bits take b words.
  private static func columnCount(of codes: StoredTensor, bits: Int) -> Int {
    codes.shape.columnCount / bits * 32
  }

  /// The bits and groups with which codes have a number of columns; nil if there are none.
  private static func groups(
    of codes: StoredTensor, _ scales: StoredTensor, columnCount: Int
  ) -> LayerGroups? {
    for bits in bits where Self.columnCount(of: codes, bits: bits) == columnCount {
      let size = groupSizes.first {
        columnCount % $0 == 0 && columnCount / $0 == scales.shape.columnCount
      }
      if let size, codes.shape.columnCount % bits == 0 {
        return LayerGroups(bits: bits, size: size)
      }
    }
    return nil
  }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    self.parts.write(rows, into: &parts, firstRow: firstRow)
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
  static func layerPath(of name: String) -> String { String(name.dropLast(weight.count)) }
}
