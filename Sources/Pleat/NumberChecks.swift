internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Numbers that no output may hold: those of a damaged input, and those that a type cannot hold.
extension BlockWorker {
  /// Where a part of a grouped weight holds scales or biases.
  struct Parameters {
    var field: ParameterField
    var type: ScalarType
  }

  /// The scales and biases of a grouped weight that can be seen without its codes; none where they
  /// are not to be looked at.
  func parameters(of tensor: Int) -> [Parameters] {
    let tensorPlan = plan.tensors[tensor]
    guard case .grouped(let grouping) = tensorPlan.source.encoding, !tensorPlan.isKeptByRule
    else { return [] }
    let parts = plan.model.parts(of: tensor)
    return parts.indices.flatMap { part -> [Parameters] in
      switch (parts[part].role, parts[part].encoding) {
      case (.blocks, _):
        let spelling = plan.model.format.spelling
        return [spelling.scaleField(of: grouping), spelling.biasField(of: grouping)]
          .compactMap { $0.map { Parameters(field: $0, type: grouping.parameters) } }
      case (.scales, .grouped), (.biases, .grouped):
        return [Parameters(part, grouping.parameters)]
      case (_, .plain(let type)) where type.isDecodable: return [Parameters(part, type)]
      default: return []
      }
    }
  }

  /// Whether the numbers of a part are looked at, though its bytes are only copied.
  func isChecked(_ tensor: Int, _ part: Int, _ parameters: [Parameters]) -> Bool {
    let tensorPlan = plan.tensors[tensor]
    if tensorPlan.source.isGrouped { return parameters.contains { $0.field.part == part } }
    return !tensorPlan.isKeptByRule && RowDecoder(tensorPlan.source.encoding) != nil
  }

  /// Throws `malformed` when a scale or a bias that was read is not finite.
  func checkParameters(
    _ parameters: [Parameters], _ cut: Cut, _ units: Range<Int>
  ) throws(ModelError) {
    for parameter in parameters {
      let found = parameter.field.read(source[parameter.field.part], FloatFormat(parameter.type))
      guard let index = Self.nonFinite(found) else { continue }
      // Groups follow each other in a row, or rows do in the line of a group.
      let lineLength = found.count / cut.source[parameter.field.part].lineCount
      let groupCount = found.count / units.count
      let (row, group) =
        lineLength == found.count
        ? (index / groupCount, index % groupCount) : (index % lineLength, index / lineLength)
      throw Self.damaged(
        "a scale or a bias", found[index], "row \(units.lowerBound + row), group \(group)")
    }
  }

  /// Throws `malformed` when a number that is to be copied is not finite.
  ///
  /// What is damaged must not look whole; but what a rule keeps may hold anything.
  func checkCopied(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ parameters: [Parameters]
  ) throws(ModelError) {
    let source = plan.tensors[tensor].source
    if source.isGrouped { return try checkParameters(parameters, cut, units) }
    guard isChecked(tensor, 0, parameters) else { return }
    for tile in tiles(cut, units.count) {
      plan.model.decode(tensor, cut, self.source, units: tile, into: &values)
      guard !largestMagnitude(values.span).isFinite else { continue }
      let bytes = self.source[0][cut.source[0].range(of: tile)]
      let found = values.indices.first {
        !values[$0].isFinite && !(source.encoding == .plain(.f64) && Self.isFinite(bytes, $0))
      }
      guard let index = found else { continue }
      let first = (units.lowerBound + tile.lowerBound) * cut.elementsPerUnit
      throw Self.damaged(
        "a weight", values[index], place(first + index, source.shape.columnCount))
    }
  }

  /// Whether a number of F64 is finite, though float32 may not hold it.
  private static func isFinite(_ bytes: ArraySlice<UInt8>, _ index: Int) -> Bool {
    let number = bytes.dropFirst(8 * index).prefix(8)
    return Double(bitPattern: number.reversed().reduce(0) { $0 << 8 | UInt64($1) }).isFinite
  }

  /// The place of the first number that is not finite; nil where all are.
  static func nonFinite(_ values: [Float]) -> Int? {
    largestMagnitude(values.span).isFinite ? nil : values.firstIndex { !$0.isFinite }
  }

  /// Where a number of a tensor is, for messages.
  func place(_ index: Int, _ columns: Int) -> String {
    "row \(index / columns), column \(index % columns)"
  }

  private static func damaged(_ what: String, _ value: Float, _ place: String) -> ModelError {
    ModelError(
      .malformed, "\(what) is not finite", expected: "a finite number",
      found: "\(value) in \(place)",
      hint: "the checkpoint is damaged: pleat inspect --stats shows where else; "
        + "quantize --rule 'name=keep' copies the tensor as it is")
  }

  /// The error of a group that a scheme did not encode.
  func explain(
    _ fault: GroupFault, _ cut: Cut, _ grouping: Grouping, firstRow: Int
  ) -> ModelError {
    let first = fault.group * grouping.groupSize
    let group = values[first..<first + grouping.groupSize]
    let columns = cut.elementsPerUnit
    switch fault.kind {
    case .nonFiniteValue:
      let index = group.firstIndex { !$0.isFinite } ?? first
      return Self.damaged("a weight", values[index], place(firstRow * columns + index, columns))
    case .parameterOverflow:
      return ModelError(
        .unsupported, "a group's range does not fit \(grouping.parameters.name)",
        found: "\(group.min() ?? 0)…\(group.max() ?? 0) in "
          + place(firstRow * columns + first, columns),
        hint: "use --parameters BF16 or F32")
    }
  }

  /// Throws for a number that is not finite, or would not be in the type that it becomes.
  ///
  /// - Parameters:
  ///   - values: Rows of `columns` numbers each, or a part of them.
  ///   - what: What a number is, for the message.
  ///   - type: F16, BF16 or F32.
  ///   - first: The place of the first number in the whole tensor.
  ///   - columns: The length of a row.
  ///   - hint: What the user can do where it does not fit.
  /// - Throws: `malformed` and `unsupported`, with the row and column.
  func checkRange(
    _ values: [Float], _ what: String, _ type: ScalarType, first: Int, columns: Int, hint: String
  ) throws(ModelError) {
    let limit = type.leastOverflow
    guard !(largestMagnitude(values.span) < limit),
      let index = values.firstIndex(where: { !($0.magnitude < limit) })
    else { return }
    let place = place(first + index, columns)
    guard values[index].isFinite else { throw Self.damaged(what, values[index], place) }
    throw ModelError(
      .unsupported, "\(what) does not fit \(type.name)", expected: "a magnitude below \(limit)",
      found: "\(values[index]) in \(place)", hint: hint)
  }
}

extension BlockWorker.Parameters {
  /// Scales or biases that have a part to themselves.
  fileprivate init(_ part: Int, _ type: ScalarType) {
    self.init(field: ParameterField(part: part, stride: type.bitWidth / 8), type: type)
  }
}

extension ScalarType {
  /// The least magnitude that becomes infinite in the type when it is rounded half to even.
  fileprivate var leastOverflow: Float {
    switch self {
    case .f16: 65520
    case .bf16: 0x1.ffp127
    default: .infinity
    }
  }
}
