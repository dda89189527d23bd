internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel
internal import Weights

/// Checks for numbers that no output may contain: NaN, infinity, and those that overflow a type.
extension BlockWorker {
  /// The scales or the biases of a grouped weight, as a field of one of its parts.
  struct Parameters {
    var field: ParameterField
    var type: ScalarType
  }

  /// The scales and biases of a grouped weight that can be checked without decoding the weight.
  ///
  /// Empty for other weights, and if a rule allows numbers that are not finite.
  func parameters(of job: TensorJob) -> [Parameters] {
    guard case .grouped(let grouping) = job.source.encoding, !job.allowsNonFinite else {
      return []
    }
    let parts = model.parts(of: job.sourceIndex)
    return parts.indices.flatMap { part -> [Parameters] in
      switch (parts[part].role, parts[part].encoding) {
      case (.blocks, _):
        let codec = model.format.codec
        return [codec.scaleField(of: grouping), codec.biasField(of: grouping)]
          .compactMap { $0.map { Parameters(field: $0, type: grouping.parameters) } }
      case (.scales, .grouped), (.biases, .grouped):
        return [Parameters(part, grouping.parameters)]
      case (_, .plain(let type)) where type.isDecodable: return [Parameters(part, type)]
      default: return []
      }
    }
  }

  /// Whether the numbers of a part are checked even if its bytes are only copied.
  func isChecked(_ job: TensorJob, _ part: Int, _ parameters: [Parameters]) -> Bool {
    if job.source.isGrouped { return parameters.contains { $0.field.part == part } }
    return !job.allowsNonFinite && job.source.isDecodable
  }

  /// Throws `malformed` if a scale or a bias in the source buffers is not finite.
  func checkParameters(
    _ parameters: [Parameters], _ job: TensorJob, _ units: Range<Int>
  ) throws(ModelError) {
    for parameter in parameters {
      let found = parameter.field.read(source[parameter.field.part], FloatFormat(parameter.type))
      guard let index = Self.nonFinite(found) else { continue }
      // Without stripes, the groups of a row follow one another. With stripes, each stripe holds
      // one group of all rows.
      let stripeLength = found.count / job.partition.layouts[parameter.field.part].stripeCount
      let groupCount = found.count / units.count
      let (row, group) =
        stripeLength == found.count
        ? (index / groupCount, index % groupCount) : (index % stripeLength, index / stripeLength)
      throw Self.damaged(
        "a scale or a bias", found[index], "row \(units.lowerBound + row), group \(group)")
    }
  }

  /// Throws `malformed` if a number that would be copied is not finite.
  ///
  /// Otherwise the output would look intact although the source is damaged. Tensors that a rule
  /// keeps are not checked.
  func checkCopied(
    _ job: TensorJob, _ units: Range<Int>, _ parameters: [Parameters]
  ) throws(ModelError) {
    if job.source.isGrouped { return try checkParameters(parameters, job, units) }
    guard isChecked(job, 0, parameters) else { return }
    for tile in job.partition.tiles(units.count) {
      decodeSource(job, tile)
      let bytes = source[0][job.partition.layouts[0].range(of: tile)]
      let found = NonFiniteNumbers(
        in: values, decodedFrom: bytes, job.source.encoding)
      guard let index = found.firstIndex else { continue }
      let first = (units.lowerBound + tile.lowerBound) * job.partition.elementsPerUnit
      throw Self.damaged(
        "a weight", values[index], position(first + index, job.source.shape.columnCount))
    }
  }

  /// Throws `malformed` if a number of the source in `values` is not finite.
  func checkFiniteSource(_ job: TensorJob, firstRow: Int) throws(ModelError) {
    guard let index = Self.nonFinite(values) else { return }
    let columns = job.partition.elementsPerUnit
    throw Self.damaged("a weight", values[index], position(firstRow * columns + index, columns))
  }

  /// The index of the first number that is not finite; nil if all are finite.
  static func nonFinite(_ values: [Float]) -> Int? {
    largestMagnitude(values.span).isFinite ? nil : values.firstIndex { !$0.isFinite }
  }

  /// The row and column of a number of a tensor, as text for messages.
  func position(_ index: Int, _ columns: Int) -> String {
    "row \(index / columns), column \(index % columns)"
  }

  static func damaged(_ what: String, _ value: Float, _ position: String) -> ModelError {
    ModelError(
      .malformed, "\(what) is not finite", expected: "a finite number",
      found: "\(value) in \(position)",
      hint: "the checkpoint is damaged: pleat inspect --stats counts such numbers in each tensor; "
        + "pleat quantize --rule 'name=keep' copies the tensor unchanged")
  }

  /// The error for a group, or a block, that a scheme could not encode.
  func explain(
    _ fault: GroupFault, _ job: TensorJob, _ encoding: Encoding, firstRow: Int
  ) -> ModelError {
    let (size, parameters) =
      switch encoding {
      case .grouped(let grouping): (grouping.groupSize, grouping.parameters)
      case .foreign(let layout): (layout.elementCount, .f16)
      case .plain(let type): (1, type)
      case .scaled(let codes): (codes.tileColumns ?? 1, codes.scales)
      }
    let first = fault.group * size
    let group = values[first..<first + size]
    let columns = job.partition.elementsPerUnit
    switch fault.kind {
    case .nonFiniteValue:
      let index = group.firstIndex { !$0.isFinite } ?? first
      return Self.damaged("a weight", values[index], position(firstRow * columns + index, columns))
    case .parameterOverflow:
      let isBlock = if case .foreign = encoding { true } else { false }
      let isScaled = if case .scaled = encoding { true } else { false }
      return ModelError(
        .unsupported,
        isScaled
          ? "the numbers of a group are too large for \(encoding)"
          : "the scale or bias of a \(isBlock ? "block" : "group") does not fit \(parameters.name)",
        found: "weights from \(group.min() ?? 0) to \(group.max() ?? 0) in "
          + position(firstRow * columns + first, columns),
        hint: isBlock || isScaled || !codec.parameterTypes.contains(.f32)
          ? "--rule '\(job.source.name)=keep' leaves it as it is" : "use --parameters BF16 or F32")
    }
  }

  /// Checks that all numbers are finite and do not overflow a type.
  ///
  /// - Parameters:
  ///   - values: Adjacent numbers of the tensor.
  ///   - what: The name of a number in the message.
  ///   - type: The type that the numbers are rounded to: F16, BF16 or F32.
  ///   - first: The index of the first number in the whole tensor.
  ///   - columns: The length of a row.
  ///   - hint: The hint for a number that overflows the type.
  /// - Throws: `malformed` or `unsupported`, with the row and column.
  func checkRange(
    _ values: [Float], _ what: String, _ type: ScalarType, first: Int, columns: Int, hint: String
  ) throws(ModelError) {
    let limit = type.leastOverflow
    guard !(largestMagnitude(values.span) < limit),
      let index = values.firstIndex(where: { !($0.magnitude < limit) })
    else { return }
    let position = position(first + index, columns)
    guard values[index].isFinite else { throw Self.damaged(what, values[index], position) }
    throw ModelError(
      .unsupported, "\(what) does not fit \(type.name)", expected: "a magnitude below \(limit)",
      found: "\(values[index]) in \(position)", hint: hint)
  }
}

extension BlockWorker.Parameters {
  /// Creates the parameters of a part that holds nothing else.
  fileprivate init(_ part: Int, _ type: ScalarType) {
    self.init(field: ParameterField(part: part, stride: type.bitWidth / 8), type: type)
  }
}

extension ScalarType {
  /// The smallest magnitude that becomes infinite when it is rounded to the type, half to even.
  fileprivate var leastOverflow: Float {
    switch self {
    case .f16: 65520
    case .bf16: 0x1.ffp127
    default: .infinity
    }
  }
}
