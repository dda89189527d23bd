internal import Bytes
internal import Kernels
internal import TensorModel

/// Finds the weights of HQQ: `w = (code − zero) · scale`, where zero points are fractions.
///
/// Tensors of one number or a short text beside the codes describe each weight.
struct HQQWeights {
  private let contents: StoredContents
  private let names: StoredNames

  private static let codes = ".W_q"
  private static let bits = ".nbits"
  /// The tensors that describe a weight; those that Pleat needs come first.
  private static let needed = [
    ".scale", ".zero", bits, ".group_size", ".shape", ".axis", ".packing",
  ]
  private static let others = [
    ".unpack_view_dtype", ".view_as_float", ".quant_scale", ".quant_zero", ".compute_dtype",
    ".offload_meta", ".encoded_state_dict", ".stores_quant_config", ".channel_wise", ".optimize",
    ".round_zero",
  ]

  init(_ contents: StoredContents) {
    self.contents = contents
    names = StoredNames(contents.tensors)
  }

  /// All weights, and the other tensors without those that describe weights.
  ///
  /// Throws `malformed` for tensors that are missing or do not fit together, `unsupported` for what
  /// Pleat does not read, and what reading throws.
  func gathered() throws(ModelError) -> [GatheredTensor] {
    var weights: [Int: GatheredTensor] = [:]
    var unused: Set<Int> = []
    for path in names.layerPaths(endingIn: [Self.codes, Self.bits]) {
      let weight = try weight(path)
      weights[weight.parts[0]] = weight
      unused.formUnion((Self.needed + Self.others).compactMap { names[path + $0] })
    }
    return contents.gathered(weights, leavingOut: unused)
  }

  /// What the tensors beside the codes say about a weight.
  private struct Description {
    var shape: Shape
    var groupSize: Int
    /// Whether groups are runs of a row; otherwise their columns are in rows that are far apart.
    var groupsRows: Bool
    /// The number of bits of the field that a code is stored in.
    var fieldBits: Int
    /// The largest code.
    var largestCode: Int

    var groupCount: Int { shape.elementCount / groupSize }
    /// The shape of scales and zero points.
    var parameters: [Int] { groupsRows ? [groupCount, 1] : [1, groupCount] }
    /// The number of rows of `W_q`: those of the reshaped weight share units.
    var packedRows: Int {
      let rows = groupsRows ? groupCount : groupSize
      return (rows + CodeFields.fieldCount(fieldBits) - 1) / CodeFields.fieldCount(fieldBits)
    }
    /// The number of units in a row of `W_q`.
    var packedColumns: Int { groupsRows ? groupSize : groupCount }
    /// Whether rows of the reshaped weight fill the units; words of ten codes may have a rest.
    var fillsUnits: Bool {
      fieldBits == 3
        || (groupsRows ? groupCount : groupSize) % CodeFields.fieldCount(fieldBits) == 0
    }
  }

  private func weight(_ path: String) throws(ModelError) -> GatheredTensor {
    try checkIsPlain(path)
    let name = path + ".weight"
    guard names[name] == nil else {
      throw ModelError(
        .malformed, "the weight is stored twice", tensor: name,
        found: "\(name) and \(path)\(Self.codes)")
    }
    let found = try names.parts([Self.codes] + Self.needed, of: path)
    let (codes, scale, zero) = (found[0], found[1], found[2])
    let description = try description(path, Array(found[3...]))
    try checkCodes(codes, description)
    let type = try parameterType(scale, zero, description)
    let bits = Grouping.supportedBits.first { (1 << $0) > description.largestCode } ?? 8
    var grouping = Grouping(
      bits: bits, groupSize: description.groupSize, offset: .zeroPoint, parameters: type,
      isScattered: !description.groupsRows)
    grouping.hasFractionalZeroPoints = true
    let shape = description.shape
    let fields = CodeFields(
      bits: description.fieldBits, unitCount: description.packedRows * description.packedColumns,
      largestCode: description.largestCode, columnCount: shape.columnCount)
    let parametersInRow =
      description.groupsRows ? shape.columnCount / description.groupSize : shape.columnCount
    let parameterRows = RowLayout(
      rowByteCount: parametersInRow * type.bitWidth / 8,
      byteCount: shape.rowCount * parametersInRow * type.bitWidth / 8)
    let form = description.groupsRows ? PartForm.stored : .repeated
    return GatheredTensor(
      info: TensorInfo(name: name, shape: shape, encoding: .grouped(grouping)),
      parts: [codes, scale, zero],
      layouts: [
        RowLayout(rowByteCount: shape.columnCount, byteCount: shape.elementCount),
        parameterRows, parameterRows,
      ],
      forms: [.codes(fields), form, form])
  }

  // MARK: - Description

  private func description(
    _ path: String, _ found: [Int]
  ) throws(ModelError) -> Description {
    let (bits, size) = (found[0], found[1])
    let (extents, axis, packing) = (found[2], found[3], found[4])
    let widths = ["8bit_u8": 8, "4bit_u8": 4, "3bit_32": 3, "2bit_u8": 2, "1bit_u8": 1]
    let name = String(decoding: try bytes(of: packing), as: UTF8.self)
    guard let fieldBits = widths[name] else {
      throw ModelError(
        .unsupported, "the codes are packed in a way that Pleat does not read",
        tensor: path + Self.codes, expected: widths.keys.sorted().joined(separator: ", "),
        found: name.isEmpty ? "no packing" : name, hint: Self.hint)
    }
    let nbits = try number(bits)
    // HQQ rounds 2^nbits − 1, and takes 1.58 bits for three codes.
    let largest = [1: 1, 1.58: 2, 2: 3, 3: 7, 4: 15, 5: 31, 6: 63, 8: 255][nbits]
    guard let largest, largest < 1 << fieldBits else {
      throw ModelError(
        .unsupported, "the codes have a width that Pleat does not read", tensor: path + Self.codes,
        expected: "1, 1.58, 2, 3, 4, 5, 6 or 8 bits that \(name) holds", found: "\(nbits) bits",
        hint: Self.hint)
    }
    let numbers = try integers(extents)
    guard numbers.count == 2, let shape = Shape(validating: numbers), shape.elementCount > 0 else {
      throw ModelError(
        .malformed, "the shape of the weight is invalid", tensor: path + ".shape",
        expected: "two positive extents",
        found: numbers.isEmpty
          ? "\(contents.tensors[extents].encoding)"
          : numbers.map(String.init).joined(separator: "×"))
    }
    let groupSize = try integers(size).first ?? 0
    let axisNumber = try integers(axis).first
    guard let axisNumber, (0...1).contains(axisNumber) else {
      throw ModelError(
        .unsupported, "the groups have an axis that Pleat does not read", tensor: path + ".axis",
        expected: "0 or 1", found: axisNumber.map(String.init) ?? "no number", hint: Self.hint)
    }
    guard groupSize > 0, shape.elementCount % groupSize == 0 else {
      throw ModelError(
        .malformed, "the groups do not divide the weight", tensor: path + ".group_size",
        expected: "a divisor of \(shape.elementCount) numbers", found: "\(groupSize)")
    }
    guard axisNumber == 0 || shape.columnCount % groupSize == 0 else {
      throw ModelError(
        .unsupported, "the groups of the weight cross its rows", tensor: path + Self.codes,
        expected: "a multiple of \(groupSize) columns", found: "\(shape)", hint: Self.hint)
    }
    return Description(
      shape: shape, groupSize: groupSize, groupsRows: axisNumber == 1, fieldBits: fieldBits,
      largestCode: largest)
  }

  /// Throws `unsupported` for a weight whose parameters are quantized too, or belong to all of it.
  private func checkIsPlain(_ path: String) throws(ModelError) {
    for (name, what) in [
      (".zero_q", "quantized zero points"), (".scale_q", "quantized scales"),
      (".zero_scale", "zero points and scales in one tensor"),
    ] where names[path + name] != nil {
      throw ModelError(
        .unsupported, "the weight has \(what), which Pleat does not read",
        tensor: path + Self.codes, expected: "scale and zero as numbers", found: path + name,
        hint: Self.hint)
    }
    for (name, value) in [(".channel_wise", 1), (".quant_zero", 0), (".quant_scale", 0)] {
      guard let index = names[path + name] else { continue }
      let stated = try integers(index).first
      guard stated != value else { continue }
      throw ModelError(
        .unsupported, "the weight is quantized in a way that Pleat does not read",
        tensor: path + name, expected: "\(value)",
        found: stated.map(String.init) ?? "no number", hint: Self.hint)
    }
  }

  private static let hint =
    "save what hqq's dequantize() gives as the 16-bit model, or start from the original"

  // MARK: - Types and shapes

  private func checkCodes(_ index: Int, _ description: Description) throws(ModelError) {
    let codes = contents.tensors[index]
    let words: ScalarType = description.fieldBits == 3 ? .i32 : .u8
    let byteCount =
      description.packedRows * description.packedColumns
      * CodeFields.unitByteCount(description.fieldBits)
    // The bytes may be stored as floating-point numbers of another width.
    let isKnown: Bool =
      if case .plain(let type) = codes.encoding {
        type == words || Grouping.supportedParameters.contains(type)
      } else {
        false
      }
    guard isKnown, description.fillsUnits, codes.shape.rank == 2,
      codes.shape.rowCount == description.packedRows, codes.byteCount == byteCount
    else {
      throw ModelError(
        .malformed, "the codes do not fit the description of the weight", tensor: codes.name,
        expected: "\(words.name) \(description.packedRows)×\(description.packedColumns) for "
          + "\(description.shape) in groups of \(description.groupSize)",
        found: "\(codes.encoding), \(codes.shape)")
    }
  }

  /// The type of scales and zero points, which have one.
  private func parameterType(
    _ scale: Int, _ zero: Int, _ description: Description
  ) throws(ModelError) -> ScalarType {
    let shape = description.parameters
    for index in [scale, zero] {
      let tensor = contents.tensors[index]
      guard case .plain(let type) = tensor.encoding, Grouping.supportedParameters.contains(type),
        tensor.encoding == contents.tensors[scale].encoding, tensor.shape.dimensions == shape
      else {
        throw ModelError(
          .malformed, "the scales or zero points do not fit the description of the weight",
          tensor: tensor.name,
          expected: "F16, BF16 or F32, both of one type, \(shape[0])×\(shape[1])",
          found: "\(tensor.encoding), \(tensor.shape)")
      }
    }
    guard case .plain(let type) = contents.tensors[scale].encoding else { return .f16 }
    return type
  }

  // MARK: - Numbers

  // No description is longer; longer ones are no numbers or names.
  private static let limit = 256

  private func bytes(of index: Int) throws(ModelError) -> [UInt8] {
    let count = contents.tensors[index].byteCount
    return count <= Self.limit ? try contents.bytes(of: index, 0..<count) : []
  }

  /// The whole numbers of a small tensor; none for other types.
  private func integers(_ index: Int) throws(ModelError) -> [Int] {
    let bytes = try bytes(of: index)
    return switch contents.tensors[index].encoding {
    case .plain(.i32): GroupIndex.numbers(bytes)
    case .plain(.i64): GroupIndex.numbers(bytes, as: Int64.self)
    case .plain(.u8): bytes.map(Int.init)
    default: []
    }
  }

  /// The number in a tensor, rounded to hundredths; 0 for other types.
  private func number(_ index: Int) throws(ModelError) -> Double {
    guard contents.tensors[index].encoding == .plain(.f32) else {
      return try integers(index).first.map(Double.init) ?? 0
    }
    let numbers = ParameterField(part: 0, stride: 4).read(try bytes(of: index), .float32)
    return numbers.first.map { (Double($0) * 100).rounded() / 100 } ?? 0
  }
}
