internal import Bytes
internal import Kernels
package import TensorModel

/// Finds the weights of torchao, whose tensors the metadata of the safetensors file describes.
///
/// For a weight `p.weight`, the entry of that name is JSON text with a `_type` and its attributes,
/// and the tensors are `p._weight_qdata`, `p._weight_scale` and others that the entry lists.
package struct TorchAOWeights {
  private let contents: StoredContents
  private let names: StoredNames
  private let metadata: Metadata

  private static let list = "tensor_names"
  private static let codes = "_qdata"

  init(_ contents: StoredContents, _ metadata: Metadata) {
    self.contents = contents
    self.metadata = metadata
    names = StoredNames(contents.tensors)
  }

  /// Metadata without the entries that describe weights, for files that no longer have these.
  package static func removingDescriptions(from metadata: Metadata) -> Metadata {
    guard let text = metadata[list]?.text,
      let value = try? JSONParser.parse(Array(text.utf8), file: list),
      let names = value.array?.compactMap(\.string)
    else { return metadata }
    var metadata = metadata
    for name in names + [list] { metadata[name] = nil }
    return metadata
  }

  /// All weights, and the other tensors.
  ///
  /// Throws `malformed` for tensors that are missing or do not fit together, `unsupported` for what
  /// Pleat does not read, and what reading throws.
  func gathered() throws(ModelError) -> [GatheredTensor] {
    var weights: [Int: GatheredTensor] = [:]
    var unused: Set<Int> = []
    for tensor in contents.tensors where tensor.name.hasSuffix(Self.codes) {
      guard let layer = try layer(tensor) else { continue }
      let weight = try weight(layer)
      weights[layer.codes] = weight
      unused.formUnion(layer.zero.map { [$0] } ?? [])
    }
    return contents.gathered(weights, leavingOut: unused)
  }

  // MARK: - Description

  /// The tensors of a weight, and what the metadata says about it.
  private struct Layer {
    var name: String
    var codes: Int
    var scale: Int
    var zero: Int?
    var type: String
    var attributes: JSONValue
    /// The rows and columns of a block, which has a scale.
    var block: [Int]
    /// The type of the decoded weight.
    var decoded: ScalarType
  }

  private static let supported = ["Int8Tensor", "IntxUnpackedToInt8Tensor", "Float8Tensor"]
  private static let hint =
    "start from the 16-bit model, or quantize it with Int8WeightOnlyConfig or IntxWeightOnlyConfig"

  /// The layer with these codes; nil if the tensor belongs to no layer.
  private func layer(_ codes: StoredTensor) throws(ModelError) -> Layer? {
    // `p._weight_qdata` is of `p.weight`.
    let words = codes.name.split(separator: ".", omittingEmptySubsequences: false)
    guard let last = words.last, last.hasPrefix("_") else { return nil }
    let parameter = last.dropFirst().dropLast(Self.codes.count)
    let path = words.dropLast().joined(separator: ".")
    let prefix = path + "._" + parameter + "_"
    let name = path + "." + parameter
    guard let text = metadata[name]?.text else {
      throw ModelError(
        .unsupported, "the metadata of the file does not describe the weight", tensor: codes.name,
        expected: "an entry \(name)", found: "none",
        hint: "torchao cannot load it either; start from the 16-bit model")
    }
    let value = try JSONParser.parse(Array(text.utf8), file: name)
    guard let type = value["_type"]?.string, Self.supported.contains(type) else {
      throw ModelError(
        .unsupported, "the weight has a layout of torchao that Pleat does not read",
        tensor: codes.name, expected: Self.supported.joined(separator: ", "),
        found: value["_type"]?.string ?? "no type", hint: Self.hint)
    }
    let known = ["qdata", "scale", "zero_point"]
    let stated = (value["_tensor_data_names"]?.array ?? []).compactMap(\.string)
    if let other = stated.first(where: { !known.contains($0) }) {
      throw ModelError(
        .unsupported, "the weight has a tensor beside its scales, which Pleat does not read",
        tensor: codes.name, expected: known.joined(separator: ", "), found: other, hint: Self.hint)
    }
    let found = try names.parts(stated, of: prefix)
    guard let scale = stated.firstIndex(of: "scale"), let qdata = stated.firstIndex(of: "qdata"),
      let attributes = value["_data"], let decoded = Self.type(attributes["dtype"]),
      let block = attributes["block_size"]?.array?.compactMap(\.int), block.count == 2,
      block.allSatisfy({ $0 > 0 })
    else {
      throw ModelError(
        .unsupported, "the description of the weight is incomplete, or is of a stack",
        tensor: codes.name, expected: "qdata, scale, a dtype, a block_size of rows and columns",
        found: text, hint: Self.hint)
    }
    let zero = stated.firstIndex(of: "zero_point").map { found[$0] }
    return Layer(
      name: name, codes: found[qdata], scale: found[scale], zero: zero, type: type,
      attributes: attributes, block: block, decoded: decoded)
  }

  /// The type that a value of the metadata names.
  private static func type(_ value: JSONValue?) -> ScalarType? {
    let types: [String: ScalarType] = ["float16": .f16, "bfloat16": .bf16, "float32": .f32]
    return value?["_data"]?.string.flatMap { types[$0] }
  }

  // MARK: - Weights

  private func weight(_ layer: Layer) throws(ModelError) -> GatheredTensor {
    let isFloat = layer.type == "Float8Tensor"
    let codes = contents.tensors[layer.codes], scale = contents.tensors[layer.scale]
    guard case .plain(let type) = codes.encoding,
      isFloat ? type == .f8e4m3 || type == .f8e5m2 : type == .i8,
      codes.shape.rank == 2, codes.shape.elementCount > 0,
      case .plain(let scaleType) = scale.encoding,
      Grouping.supportedParameters.contains(scaleType)
    else {
      throw fault(
        "the tensors of the weight do not have the types of torchao", layer,
        isFloat ? "FP8 codes, scales in F32" : "I8 codes, scales in F16, BF16 or F32")
    }
    let (rows, columns) = (codes.shape.rowCount, codes.shape.columnCount)
    let (height, width) = (layer.block[0], layer.block[1])
    guard rows % height == 0, columns % width == 0,
      scale.shape.dimensions == [rows / height, columns / width]
    else {
      throw fault(
        "the scales do not fit the codes of the weight", layer,
        "a scale for each block of \(height)×\(width)")
    }
    let hasZeroPoints = try hasZeroPoints(layer)
    if layer.type != "IntxUnpackedToInt8Tensor", !hasZeroPoints {
      return scaled(layer, codes, type, scale, scaleType)
    }
    return try grouped(layer, codes, scale, scaleType, hasZeroPoints)
  }

  private func scaled(
    _ layer: Layer, _ codes: StoredTensor, _ type: ScalarType, _ scale: StoredTensor,
    _ scaleType: ScalarType
  ) -> GatheredTensor {
    let (height, width) = (layer.block[0], layer.block[1])
    let (rows, columns) = (codes.shape.rowCount, codes.shape.columnCount)
    let encoding = ScaledCodes(
      codes: type, scales: scaleType, tileRows: height == rows && rows > 1 ? nil : height,
      tileColumns: width == columns ? nil : width, decoded: layer.decoded)
    let scales =
      encoding.tileRows.map {
        RowLayout(
          stripeCount: 1, stripeByteCount: scale.byteCount, rowsPerStep: $0,
          bytesPerStep: columns / width * scaleType.bitWidth / 8)
      } ?? RowLayout(wholeByteCount: scale.byteCount)
    return GatheredTensor(
      info: TensorInfo(name: layer.name, shape: codes.shape, encoding: .scaled(encoding)),
      parts: [layer.codes, layer.scale],
      layouts: [RowLayout(rowByteCount: columns, byteCount: codes.byteCount), scales])
  }

  private func grouped(
    _ layer: Layer, _ codes: StoredTensor, _ scale: StoredTensor, _ scaleType: ScalarType,
    _ hasZeroPoints: Bool
  ) throws(ModelError) -> GatheredTensor {
    let width = try codeWidth(layer)
    guard layer.block[0] == 1, let bits = Grouping.supportedBits.first(where: { $0 >= width })
    else {
      throw fault(
        "the groups of the weight are blocks of several rows", layer, "blocks of one row")
    }
    let limits = CenteredBytes(
      limits: -(1 << (width - 1))...(1 << (width - 1)) - 1, center: 1 << (bits - 1))
    let grouping = Grouping(
      bits: bits, groupSize: layer.block[1], offset: hasZeroPoints ? .zeroPoint : .none,
      parameters: scaleType)
    let (rows, columns) = (codes.shape.rowCount, codes.shape.columnCount)
    let groups = columns / layer.block[1]
    var weight = GatheredTensor(
      info: TensorInfo(name: layer.name, shape: codes.shape, encoding: .grouped(grouping)),
      parts: [layer.codes, layer.scale],
      layouts: [
        RowLayout(rowByteCount: columns, byteCount: rows * columns),
        RowLayout(rowByteCount: groups * scaleType.bitWidth / 8, byteCount: scale.byteCount),
      ],
      forms: [.centered(limits), .stored])
    guard hasZeroPoints, let zero = layer.zero else { return weight }
    weight.parts.append(zero)
    weight.layouts.append(RowLayout(rowByteCount: groups, byteCount: rows * groups))
    weight.forms.append(.centered(limits))
    return weight
  }

  /// The number of bits of the codes.
  private func codeWidth(_ layer: Layer) throws(ModelError) -> Int {
    guard layer.type == "IntxUnpackedToInt8Tensor" else { return 8 }
    let name = layer.attributes["target_dtype"]?["_data"]?.string ?? "none"
    guard name.hasPrefix("int"), let width = Int(name.dropFirst(3)), (1...8).contains(width) else {
      throw ModelError(
        .unsupported, "the codes have a type that Pleat does not read",
        tensor: contents.tensors[layer.codes].name, expected: "int1 to int8", found: name,
        hint: Self.hint)
    }
    return width
  }

  /// Whether a weight has zero points other than 0.
  ///
  /// Throws `unsupported` for zero points that are no signed bytes, `malformed` for another shape,
  /// and what reading throws.
  private func hasZeroPoints(_ layer: Layer) throws(ModelError) -> Bool {
    guard let index = layer.zero else { return false }
    let zero = contents.tensors[index]
    guard zero.encoding == .plain(.i8) else {
      throw ModelError(
        .unsupported, "the zero points are not whole numbers", tensor: zero.name, expected: "I8",
        found: zero.encoding.description, hint: Self.hint)
    }
    guard zero.shape == contents.tensors[layer.scale].shape else {
      throw fault(
        "the zero points do not fit the scales of the weight", layer, "as many as scales",
        found: "\(zero.shape) zero points, \(contents.tensors[layer.scale].shape) scales")
    }
    let step = 1 << 20
    for start in stride(from: 0, to: zero.byteCount, by: step) {
      let bytes = try contents.bytes(of: index, start..<min(start + step, zero.byteCount))
      if bytes.contains(where: { $0 != 0 }) { return true }
    }
    return false
  }

  private func fault(
    _ what: String, _ layer: Layer, _ expected: String, found: String? = nil
  ) -> ModelError {
    let codes = contents.tensors[layer.codes], scale = contents.tensors[layer.scale]
    return ModelError(
      .malformed, what, tensor: codes.name, expected: expected,
      found: found ?? "\(codes.shape) in \(codes.encoding), \(scale.shape) scales in "
        + "\(scale.encoding)")
  }
}
