internal import Adapters
internal import Bytes
internal import Formats
internal import Quantization
internal import TensorModel
public import Weights

extension Plan {
  /// Plans to quantize a model's weights.
  ///
  /// - Parameters:
  ///   - model: The model to read.
  ///   - recipe: The bits, the groups, the scheme and the rules.
  ///   - destination: The output.
  ///   - importance: How much errors in each column of a weight count; nil if all count the same.
  ///   - requantizing: Whether weights that are already quantized may be quantized again.
  ///   - demand: How much must be quantized.
  ///   - adapters: Adapters that are added before rounding. One with pooled inputs changes the
  ///     biases after rounding instead, as a fold into the quantized model does, if its groups fit.
  /// - Returns: The plan. Nothing is written before it runs.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`; `unsupported` also if
  ///   less is quantized than is demanded.
  public static func quantizing(
    _ model: Model, _ recipe: Recipe, to destination: Destination,
    weighing importance: Importance? = nil, requantizing: Bool = false,
    demanding demand: QuantizationDemand = .nothing, adding adapters: [AppliedAdapter] = []
  ) throws(ModelError) -> Plan {
    try model.requireNumbers()
    let type = recipe.parameters ?? (recipe.mode == nil ? .f16 : nil)
    let model = try model.arranged(for: destination, numbers: type)
    let importance = importance?.arranged(asIn: model)
    var destination = destination
    destination.otherInputs += importance?.matrix.paths ?? []
    let changes = adapters.isEmpty ? [:] : try model.changes(by: adapters)
    let head = try HeadPlan(model, changes, by: adapters, to: destination.format)
    var tensors = model.catalog.tensors
    if let added = head.added { tensors.append(added.info) }
    let subject = MixPlan.Subject(
      model: model, tensors: tensors, dropped: head.dropped, importance: importance)
    var planner = try QuantizationPlanner(
      recipe.choosingMix(for: model, destination.format, adding: changes), destination.format,
      subject,
      head, requantizing: requantizing)
    do throws(ModelError) {
      let wishes = try planner.decide(changes, head)
      if demand == .everything { try QuantizationPlanner.checkEverything(wishes) }
      var history: [JSONValue.Member] = [
        .init("action", "quantize"), .init("recipe", planner.recipe.json),
      ]
      if let importance { history.append(.init("importance", try importance.record())) }
      if !adapters.isEmpty {
        history.append(.init("adapters", .array(adapters.map(\.record))))
      }
      let notes = planner.notes(
        on: wishes, leavesOutTowers: model.needsTranslation(to: destination.format))
      let plan = try Plan(
        model, consume wishes, to: destination, notes: notes + model.notes(on: adapters, changes),
        history: .object(history), head: head, adapters: adapters)
      if demand != .nothing, !plan.jobs.contains(where: { $0.action == .quantize }) {
        try planner.checkNothing(try planner.decide(changes, head))
      }
      return plan
    } catch {
      // A usage error is about the options, so it does not name the model.
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }
}

extension Recipe {
  /// The recipe with the usual mix of a format, if the user leaves the choice to the format.
  ///
  /// Adapters with pooled inputs move the biases of groups, which most types of a mix lack. A GGUF
  /// file that states no layers is no model that a mix is for.
  fileprivate func choosingMix(
    for model: Model, _ format: Format, adding changes: [Int: [PairedChange]]
  ) -> Recipe {
    guard isOpen, let mix = format.usualMix,
      !model.isGGUF || MixModel.statesLayers(model.catalog.metadata),
      !changes.values.joined().contains(where: { $0.groupSize != nil })
    else { return self }
    var recipe = self
    recipe.type = mix
    return recipe
  }
}

extension QuantizationPlanner {
  /// The decisions for all tensors of the output, in order, with changes by adapters.
  ///
  /// Throws what deciding throws, and `unsupported` for adapters that cannot be added exactly.
  fileprivate mutating func decide(
    _ changes: [Int: [PairedChange]], _ head: HeadPlan
  ) throws(ModelError) -> [TensorWish] {
    var wishes: [TensorWish] = []
    wishes.reserveCapacity(catalog.tensors.count)
    for (index, tensor) in catalog.tensors.enumerated() {
      wishes.append(try decide(tensor, at: index).adding(changes[index] ?? [], to: format))
    }
    if let added = head.added {
      var wish = try decide(added.info, at: wishes.count).adding(added.changes, to: format)
      wish.sourceIndex = added.source
      wishes.append(wish)
    }
    return wishes
  }
}

extension TensorWish {
  /// The wish with adapters added.
  ///
  /// Throws `unsupported` if they cannot be added exactly.
  fileprivate func adding(
    _ changes: [PairedChange], to format: Format
  ) throws(ModelError) -> TensorWish {
    guard !changes.isEmpty else { return self }
    var wish = self
    switch transform {
    case .encode(_, .groups(let quantizer, _)):
      wish.transform = try adding(changes, to: quantizer)
    case .encode(_, .rows(let encoder)):
      wish.transform = .encode(changes.map { .adapter($0) }, .rows(encoder))
    case .encode(_, .scaled(let encoder)):
      wish.transform = .encode(changes.map { .adapter($0) }, .scaled(encoder.forSums))
    case .copy, .regroup, .rearrange, .moveMinima, .omit:
      // An adapter is folded into a tensor that keeps its encoding.
      let decision = try FoldPlanner(format).decide(source, changes)
      guard case .exact = decision.verdict else {
        throw ModelError(
          .unsupported,
          "the weight keeps its encoding, and the adapter cannot be added to it exactly",
          tensor: source.name, found: source.encoding.description)
      }
      wish = decision.wish
      wish.exception = exception
    }
    wish.grow(for: changes)
    wish.reason = reason + ", with the adapter added"
    return wish
  }

  /// The encoding of a weight with adapters, before or after rounding.
  ///
  /// A pooled adapter changes the biases after rounding if the source is not quantized and the
  /// groups of the adapter consist of whole groups of the quantizer. Other changes are added to the
  /// floats before rounding. Throws `unsupported` for a pooled adapter if the quantizer stores no
  /// biases.
  private func adding(
    _ changes: [PairedChange], to quantizer: any Quantizer
  ) throws(ModelError) -> Transform {
    let grouping = quantizer.grouping
    if grouping.offset != .bias, changes.contains(where: { $0.groupSize != nil }) {
      throw ModelError(
        .unsupported, "the groups store no biases, which a QA-LoRA adapter changes",
        tensor: source.name, expected: "groups with a bias: --offset bias, or --type Q4_1",
        found: grouping.description,
        hint: "or quantize without --adapter, then use pleat fold")
    }
    func isAfterRounding(_ change: PairedChange) -> Bool {
      guard let size = change.groupSize, !source.isGrouped else { return false }
      return size % grouping.groupSize == 0
    }
    return .encode(
      changes.filter { !isAfterRounding($0) }.map { .adapter($0) },
      .groups(quantizer, offsetMoves: changes.filter(isAfterRounding)))
  }
}
