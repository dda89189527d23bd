internal import Bytes
internal import Kernels
internal import TensorModel

/// Finds the weights of bitsandbytes: codes in blocks that do not depend on rows.
///
/// A weight of 4 bits is one run of codes, with a scale for each block. The scales may be quantized
/// again. A weight of 8 bits has a scale for each row.
struct BlockwiseWeights {
  private let contents: StoredContents
  private let names: StoredNames

  private static let scales = ".absmax"
  private static let state = ".quant_state.bitsandbytes__"
  private static let rowScales = ".SCB"
  private static let weight = ".weight"

  /// The weights whose tensors are among those that a codec took for plain numbers.
  ///
  /// Throws `unsupported` for blocks that cross rows and descriptions that are incomplete,
  /// `malformed` for tensors that do not fit together, and what reading throws.
  static func find(
    in contents: StoredContents, _ names: StoredNames, among plain: Set<Int>
  ) throws(ModelError) -> [GatheredTensor] {
    let finder = BlockwiseWeights(contents: contents, names: names)
    var weights: [GatheredTensor] = []
    for index in contents.tensors.indices where plain.contains(index) {
      let name = contents.tensors[index].name
      if name.hasSuffix(scales) {
        let path = String(name.dropLast(scales.count))
        if let weight = try finder.fourBits(path, scales: index) { weights.append(weight) }
      } else if name.hasSuffix(rowScales) {
        let path = String(name.dropLast(rowScales.count)) + weight
        if let weight = finder.eightBits(path, scales: index) { weights.append(weight) }
      }
    }
    return weights
  }

  /// Whether a tensor describes how a weight is stored, and holds no numbers.
  static func isDescription(_ name: String) -> Bool {
    name.hasSuffix(".weight_format") || name.contains(state)
  }

  // MARK: - 4 bits

  /// What a tensor of JSON text states about a weight.
  private struct Description {
    var shape: Shape
    var blockSize: Int
    var decoded: ScalarType
    var nesting: ScaledCodes.Nesting?

    // The largest blocks of bitsandbytes have 4096 numbers.
    private static let blockSizes = 1...ScaledCodes.largestNestedBlock

    init?(_ value: JSONValue) {
      let types: [String: ScalarType] = ["float16": .f16, "bfloat16": .bf16, "float32": .f32]
      guard let extents = value["shape"]?.array?.compactMap(\.int), extents.count >= 2,
        let shape = Shape(validating: extents), shape.elementCount > 0,
        let size = value["blocksize"]?.int, Self.blockSizes.contains(size),
        let type = value["dtype"]?.string.flatMap({ types[$0] })
      else { return nil }
      (self.shape, blockSize, decoded) = (shape, size, type)
      if let size = value["nested_blocksize"]?.int, Self.blockSizes.contains(size),
        let offset = value["nested_offset"]?.double
      {
        nesting = .init(blockSize: size, offset: Float(offset))
      }
    }
  }

  private func fourBits(
    _ path: String, scales: Int
  ) throws(ModelError) -> GatheredTensor? {
    let kind = ["nf4", "fp4"].first { names[path + Self.state + $0] != nil }
    guard let kind, let state = names[path + Self.state + kind], let codes = names[path],
      let table = names[path + ".quant_map"]
    else { return nil }
    let stored = contents.tensors
    let text = try contents.bytes(of: state, 0..<stored[state].byteCount)
    let document = try? JSONParser.parse(text, file: stored[state].name)
    guard let description = document.flatMap(Description.init) else {
      throw fault(
        .unsupported, "the description of the weight is incomplete", state,
        "shape, blocksize, dtype")
    }
    let (shape, size) = (description.shape, description.blockSize)
    let columns = shape.columnCount
    guard columns > 0, columns % size == 0, size % 2 == 0 else {
      throw fault(
        .unsupported, "the blocks of the weight cross its rows", codes,
        "a multiple of \(size) columns",
        found: "\(shape)")
    }
    let scaleCount = shape.elementCount / size
    let nested = names[path + ".nested_absmax"], map = names[path + ".nested_quant_map"]
    let outerCount = description.nesting.map { (scaleCount + $0.blockSize - 1) / $0.blockSize }
    guard stored[codes].byteCount == shape.elementCount / 2,
      holds(table, .f32, 16),
      holds(scales, description.nesting == nil ? .f32 : .u8, scaleCount),
      (nested != nil) == (outerCount != nil),
      outerCount.map({ holds(nested, .f32, $0) && holds(map, .f32, 256) }) ?? true
    else {
      throw fault(
        .malformed, "the tensors of the weight do not fit its description", codes,
        "\(shape.elementCount / 2) bytes, \(scaleCount) scales",
        found: "\(stored[codes].byteCount) bytes, \(stored[scales].shape) scales")
    }
    let encoding = ScaledCodes(
      codes: .u8, table: kind.uppercased(), scales: description.nesting == nil ? .f32 : .u8,
      nesting: description.nesting, tileRows: 1, tileColumns: size, decoded: description.decoded)
    var parts = [codes, scales, table]
    if description.nesting != nil, let nested, let map { parts += [nested, map] }
    return GatheredTensor(
      info: TensorInfo(name: path, shape: shape, encoding: .scaled(encoding)), parts: parts,
      layouts: encoding.parts(of: shape).map(\.rows))
  }

  /// Whether a tensor has as many numbers of a type.
  private func holds(_ index: Int?, _ type: ScalarType, _ count: Int) -> Bool {
    guard let index else { return false }
    let tensor = contents.tensors[index]
    return tensor.encoding == .plain(type) && tensor.shape.elementCount == count
  }

  private func fault(
    _ kind: ModelError.Kind, _ what: String, _ index: Int, _ expected: String,
    found: String? = nil
  ) -> ModelError {
    ModelError(
      kind, what, tensor: contents.tensors[index].name, expected: expected, found: found)
  }

  // MARK: - 8 bits

  private func eightBits(_ name: String, scales: Int) -> GatheredTensor? {
    guard let codes = names[name], case let tensor = contents.tensors[codes],
      tensor.encoding == .plain(.i8), tensor.shape.rank == 2,
      holds(scales, .f32, tensor.shape.rowCount)
    else { return nil }
    let encoding = ScaledCodes(
      codes: .i8, scales: .f32, tileRows: 1, tileColumns: nil, factor: .largestCode,
      decoded: .f16)
    return GatheredTensor(
      info: TensorInfo(name: name, shape: tensor.shape, encoding: .scaled(encoding)),
      parts: [codes, scales], layouts: encoding.parts(of: tensor.shape).map(\.rows))
  }
}
