package import TensorModel

/// Finds the weights of a checkpoint that consist of codes and of scales of tiles.
///
/// The names of the tensors are those of DeepSeek, fbgemm, compressed-tensors, modelopt and MLX.
package struct ScaledWeights {
  /// All weights: those that were given, with the scaled ones instead of their stored tensors.
  package private(set) var tensors: [GatheredTensor] = []
  /// The number of scaled weights.
  package private(set) var count = 0
  /// Notes for the user.
  package private(set) var notes: [String] = []

  private let stored: [StoredTensor]
  private let names: StoredNames
  private let blockShape: [Int]?
  private var decoded = ScalarType.bf16

  /// Finds the scaled weights among the tensors that a codec took for plain numbers.
  ///
  /// Throws `unsupported` for codes and scales that do not fit together and for weights that are
  /// more than the product of both, and what finding blocks throws.
  package init(
    _ gathered: [GatheredTensor], in contents: StoredContents, _ config: ScaledConfig
  ) throws(ModelError) {
    stored = contents.tensors
    names = StoredNames(stored)
    blockShape = config.blockShape
    decoded = usualType(gathered)
    var weights: [Int: GatheredTensor] = [:]
    var parts: Set<Int> = []
    let plain = Set(gathered.lazy.filter { !$0.info.hasParts }.map { $0.parts[0] })
    for scales in stored.indices where plain.contains(scales) {
      guard let found = candidate(scales), plain.contains(found.codes) else { continue }
      let weight = try gather(found)
      weights[found.codes] = weight
      parts.formUnion(weight.parts)
    }
    for weight in try BlockwiseWeights.find(in: contents, names, among: plain) {
      weights[weight.parts[0]] = weight
      parts.formUnion(weight.parts)
    }
    count = weights.count
    var activations = 0
    for tensor in gathered {
      let index = tensor.parts[0]
      if let weight = weights[index] {
        tensors.append(weight)
      } else if BlockwiseWeights.isDescription(stored[index].name), count > 0 {
        continue
      } else if config.leavesActivationScales, Self.isActivationScale(stored[index].name) {
        activations += 1
      } else if !parts.contains(index) {
        tensors.append(tensor)
      }
    }
    if activations > 0 {
      notes.append(
        "\(activations) scale\(activations == 1 ? "" : "s") of activations and caches are left "
          + "out: they are for runtimes that compute in FP8 or INT8")
    }
  }

  /// The type of most matrices of plain numbers; BF16 without any.
  private func usualType(_ tensors: [GatheredTensor]) -> ScalarType {
    var counts: [ScalarType: Int] = [:]
    for tensor in tensors where tensor.info.shape.rank >= 2 {
      guard case .plain(let type) = tensor.info.encoding,
        Grouping.supportedParameters.contains(type), candidate(tensor.parts[0]) == nil
      else { continue }
      counts[type, default: 0] += tensor.info.shape.elementCount
    }
    return counts.max { ($0.value, $0.key.name) < ($1.value, $1.key.name) }?.key ?? .bf16
  }

  // MARK: - Names

  /// The stored tensors of a weight, before their types and shapes are checked.
  private struct Candidate {
    var codes: Int
    var scales: Int
    /// The number that multiplies or divides all scales.
    var factor: (index: Int, kind: ScaledCodes.Factor)?
    var codeType: ScalarType
    var scaleType: ScalarType
    /// The name of the weight.
    var name: String
    /// Whether the codes have a dimension for the blocks of a row.
    var isInBlocks = false
  }

  /// Names of scales of activations and caches: the last words.
  private static let activationScales: Set<String> = [
    "input_scale", "input_zero_point", "input_global_scale", "input_scale_ub", "activation_scale",
    "output_scale", "q_scale", "k_scale", "v_scale", "prob_output_scale",
  ]

  private static func isActivationScale(_ name: String) -> Bool {
    guard let dot = name.lastIndex(of: ".") else { return false }
    return activationScales.contains(String(name[dot...].dropFirst()))
  }

  /// The weight whose scales a tensor holds; nil if the tensor holds no scales that Pleat knows.
  private func candidate(_ scales: Int) -> Candidate? {
    guard case .plain(let type) = stored[scales].encoding else { return nil }
    let name = stored[scales].name
    if let blocks = blocks(scales) { return blocks }
    for ending in ["_scale_inv", "_scale", ".scales", ".scale"] where name.hasSuffix(ending) {
      let stem = String(name.dropLast(ending.count))
      let weight = ending.hasPrefix(".") ? stem + ".weight" : stem
      let packed = names[weight + "_packed"]
      guard let codes = packed ?? names[weight], case .plain(let words) = stored[codes].encoding
      else { continue }
      let second = names[weight + "_scale_2"]
      let divisor = packed == nil ? nil : names[weight + "_global_scale"]
      var found = Candidate(
        codes: codes, scales: scales, codeType: words, scaleType: type, name: weight)
      if let second { found.factor = (second, .multiplier) }
      if let divisor { found.factor = (divisor, .divisor) }
      guard let codeType = codeType(found, isMLX: ending == ".scales", isBare: ending == ".scale")
      else { return nil }
      found.codeType = codeType
      if type == .u8 {
        // A byte is an exponent, except in the mode nvfp4 of MLX.
        let isNVFP4 = words == .u32 && ratio(found) == 2
        found.scaleType = isNVFP4 ? .f8e4m3 : .f8e8m0
      }
      return found
    }
    return nil
  }

  /// The weight of gpt-oss whose scales a tensor holds: bytes in blocks of 32 codes, and exponents.
  ///
  /// It keeps the name of its blocks, because transformers decodes them to a transposed weight under
  /// another name.
  private func blocks(_ scales: Int) -> Candidate? {
    let name = stored[scales].name
    guard name.hasSuffix("_scales"), stored[scales].encoding == .plain(.u8),
      case let blocks = name.dropLast("scales".count) + "blocks",
      let codes = names[String(blocks)], stored[codes].encoding == .plain(.u8),
      stored[codes].shape.rank > 2,
      stored[codes].shape.dimensions == stored[scales].shape.dimensions + [16]
    else { return nil }
    return Candidate(
      codes: codes, scales: scales, codeType: .f4, scaleType: .f8e8m0, name: String(blocks),
      isInBlocks: true)
  }

  /// Stored code words for each scale in a row; nil if it is no whole number.
  private func ratio(_ found: Candidate) -> Int? {
    let words = stored[found.codes].shape.columnCount
    let scales = stored[found.scales].shape.columnCount
    return scales > 0 && words % scales == 0 ? words / scales : nil
  }

  /// The type of codes, by the types of both tensors; nil for those that Pleat does not know.
  private func codeType(_ found: Candidate, isMLX: Bool, isBare: Bool) -> ScalarType? {
    let isPacked = stored[found.codes].name != found.name
    switch (found.codeType, found.scaleType) {
    case (.u32, .u8) where isMLX:
      // 8 words have 64 codes of 4 bits, or 32 of 8 bits.
      return [4: .f4, 2: .f4, 8: .f8e4m3][ratio(found) ?? 0]
    case _ where isMLX: return nil
    case (.f8e4m3, .f8e8m0) where isBare, (.f8e5m2, .f8e8m0) where isBare: return found.codeType
    case (.i8, .f8e8m0) where isBare: return ratio(found) == 16 ? .f4 : nil
    case _ where isBare: return nil
    case (.u8, .f8e4m3): return found.factor != nil && ratio(found) == 8 ? .f4 : nil
    case (.u8, .u8) where isPacked: return [16: .f4, 24: .f6e2m3][ratio(found) ?? 0]
    case (.f8e4m3, .f16), (.f8e4m3, .bf16), (.f8e4m3, .f32), (.f8e4m3, .f8e8m0), (.f8e4m3, .u8),
      (.f8e5m2, .f16), (.f8e5m2, .bf16), (.f8e5m2, .f32), (.f8e5m2, .f8e8m0), (.f8e5m2, .u8),
      (.i8, .f16), (.i8, .bf16), (.i8, .f32):
      return isPacked ? nil : found.codeType
    default: return nil
    }
  }

  // MARK: - Shapes

  private func gather(_ found: Candidate) throws(ModelError) -> GatheredTensor {
    try checkIsProduct(found)
    let (codes, scales) = (stored[found.codes], stored[found.scales])
    var extents = codes.shape.dimensions
    if found.isInBlocks { extents.append(extents.removeLast() * extents.removeLast()) }
    let bits = (extents.last ?? 0).multipliedReportingOverflow(by: codes.scalarBits)
    let columns = bits.overflow ? 0 : bits.partialValue / found.codeType.bitWidth
    guard extents.count >= 2, codes.shape.elementCount > 0, columns > 0,
      let shape = Shape(validating: extents.dropLast() + [columns]),
      let tile = Tile(shape, scales.shape, blockShape),
      tile.columns.map({ $0 * found.codeType.bitWidth % 8 == 0 }) ?? true
    else {
      throw ModelError(
        .unsupported, "the scales do not fit the codes of the weight", tensor: codes.name,
        expected: "a scale for the tensor, for each row, or for each block"
          + (blockShape.map { " of \($0[0]) × \($0[1])" } ?? ""),
        found: "\(codes.shape) in \(codes.encoding), \(scales.shape) scales")
    }
    if let factor = found.factor {
      let tensor = stored[factor.index]
      let count = extents.dropLast(2).reduce(1, *)
      guard tensor.encoding == .plain(.f32), tensor.shape.elementCount == count,
        count == 1 || tile.rows != nil
      else {
        throw ModelError(
          .unsupported, "the tensor does not hold one scale for each matrix of the weight",
          tensor: tensor.name, expected: "F32, \(count == 1 ? "one number" : "\(count) numbers")",
          found: "\(tensor.encoding), \(tensor.shape)")
      }
    }
    let encoding = ScaledCodes(
      codes: found.codeType, scales: found.scaleType, tileRows: tile.rows,
      tileColumns: tile.columns, factor: found.factor?.kind ?? .none, decoded: decoded)
    var parts = [found.codes, found.scales]
    if let factor = found.factor { parts.append(factor.index) }
    return GatheredTensor(
      info: TensorInfo(name: found.name, shape: shape, encoding: .scaled(encoding)), parts: parts,
      layouts: encoding.parts(of: shape).map(\.rows))
  }

  /// Throws `unsupported` if the weight is more than the product of codes and scales.
  private func checkIsProduct(_ found: Candidate) throws(ModelError) {
    let path = found.name.hasSuffix(".weight") ? String(found.name.dropLast(7)) : found.name
    for (name, what) in [
      (found.name + "_zero_point", "zero points"), (found.name + "_g_idx", "an order of columns"),
      (path + ".pre_quant_scale", "scales of its inputs"),
      (path + ".global_scale", "a scale of each matrix"),
    ] where names[name] != nil {
      throw ModelError(
        .unsupported, "the weight has \(what) beside its scales, which Pleat does not read",
        tensor: stored[found.codes].name, expected: "codes and scales", found: name)
    }
  }

  /// The rows and columns that share a scale; nil for all.
  private struct Tile {
    var rows: Int?
    var columns: Int?

    /// The tile of a weight, by the shape of its scales; nil if they do not fit.
    init?(_ shape: Shape, _ scales: Shape, _ blockShape: [Int]?) {
      if scales.elementCount == 1 { return }
      var outer = scales.dimensions
      let extents = shape.dimensions
      if outer.count == extents.count - 1 { outer.append(1) }
      // modelopt keeps the two dimensions of a block.
      if extents.count == 2, outer.count == 4, outer[1] == 1, outer[3] == 1 {
        outer = [outer[0], outer[2]]
      }
      let (matrixRows, columns) = (extents[extents.count - 2], extents[extents.count - 1])
      guard outer.count == extents.count, outer.dropLast(2) == extents.dropLast(2),
        let height = Self.extent(matrixRows, outer[outer.count - 2], blockShape?[0]),
        // Runs of a row may have another length than the blocks of the config.
        let width = Self.extent(
          columns, outer[outer.count - 1], blockShape?[1], isFree: height == 1)
      else { return nil }
      // A tile does not cross from one matrix of a stack to the next.
      guard extents.count == 2 || matrixRows % height == 0 else { return nil }
      rows = extents.count == 2 && height >= matrixRows && height > 1 ? nil : height
      self.columns = width >= columns && width > 1 ? nil : width
    }

    /// The length of a tile, of which there are `count` in `extent`; nil if it is unclear.
    ///
    /// `isFree` is whether it may differ from the stated one.
    private static func extent(
      _ extent: Int, _ count: Int, _ stated: Int?, isFree: Bool = false
    ) -> Int? {
      if count == extent { return 1 }
      if count == 1 { return extent }
      if let stated, (extent - 1) / stated + 1 == count { return stated }
      guard stated == nil || isFree, count > 0, extent % count == 0,
        case let length = extent / count, length & (length - 1) == 0
      else { return nil }
      return length
    }
  }
}

extension StoredTensor {
  /// The width of a stored number in bits; 0 for groups and blocks.
  fileprivate var scalarBits: Int {
    if case .plain(let type) = encoding { type.bitWidth } else { 0 }
  }
}
