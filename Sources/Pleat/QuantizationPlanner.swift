internal import Adapters
internal import Bytes
internal import Formats
internal import Quantization
public import TensorModel

extension Plan {
  /// Plans to round a model's weights to groups.
  ///
  /// - Parameters:
  ///   - model: The model to read.
  ///   - recipe: What the user wants.
  ///   - destination: Where the result goes.
  ///   - requantizing: Whether weights that are quantized already are rounded a second time.
  ///   - uses: Adapters that are added before rounding; one with pooled inputs moves the offsets
  ///     of the rounded groups, as folding into the quantized model would.
  /// - Returns: The plan, which nothing has been done for yet.
  /// - Throws: `ModelError` of kind `usage` or `unsupported`.
  public static func quantizing(
    _ model: Model, _ recipe: Recipe, to destination: Destination, requantizing: Bool = false,
    adding uses: [AdapterUse] = []
  ) throws(ModelError) -> Plan {
    let changes = uses.isEmpty ? [:] : try model.changes(by: uses)
    var planner = try QuantizationPlanner(
      recipe, destination.format, model.catalog, requantizing: requantizing)
    do throws(ModelError) {
      var tensors: [TensorPlan] = []
      tensors.reserveCapacity(model.catalog.tensors.count)
      for (index, tensor) in model.catalog.tensors.enumerated() {
        tensors.append(
          try planner.plan(tensor).adding(changes[index] ?? [], to: destination.format))
      }
      var history: [JSONValue.Member] = [
        .init("action", "quantize"), .init("recipe", planner.recipe.json),
      ]
      if !uses.isEmpty { history.append(.init("adapters", .array(uses.map(\.record)))) }
      return try Plan(
        model, tensors, to: destination,
        notes: planner.notes(tensors) + model.notes(on: uses, changes),
        history: .object(history), adapters: uses)
    } catch {
      // A wish that cannot be granted is not the model's fault.
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }
}

/// Decides for each tensor whether and how it is quantized.
///
/// Pure: it sees descriptions only.
struct QuantizationPlanner {
  /// The recipe with the defaults of the format filled in.
  private(set) var recipe: Recipe
  private let wanted: Recipe
  /// The groups of the blocks that the recipe names.
  private let blocks: Grouping?
  private let defaultGroup: GroupSize
  private let format: Format
  private let requantizes: Bool
  private let catalog: Catalog
  private var roles = TensorRoles()
  /// Whether embeddings are not the head, too.
  private lazy var hasHead = catalog.tensors.contains { roles.role(of: $0) == .head }
  /// What was found of groups, which are those of many weights.
  private var groupings: [GroupWish: (grouping: Grouping, scheme: String)] = [:]

  /// The groups that a weight is to have.
  private struct GroupWish: Hashable {
    var bits: Int
    var size: Int
    var schemes: SchemeWish
    var offset: Grouping.Offset?
  }

  /// The schemes that may choose scales: the one of a name, or all where none is named.
  private struct SchemeWish: Hashable {
    var name: String?
    /// Whether the others are tried after it.
    var isPreference = false

    var schemes: [any GroupScheme.Type] {
      Schemes.all.filter { name == nil || $0.name == name } + (isPreference ? Schemes.all : [])
    }
  }

  /// Throws `usage` when the format cannot hold what the recipe asks for.
  init(
    _ recipe: Recipe, _ format: Format, _ catalog: Catalog, requantizing: Bool
  ) throws(ModelError) {
    self.format = format
    requantizes = requantizing
    self.catalog = catalog
    guard !format.bits.isEmpty else {
      let able = Formats.all.filter { !$0.bits.isEmpty }.map(\.name)
      throw ModelError(
        .usage, "\(format.name) cannot hold quantized weights",
        expected: "--to " + able.joined(separator: " or --to "), found: "--to \(format.name)")
    }
    try recipe.validate()
    wanted = recipe
    blocks = try recipe.type.map { (name) throws(ModelError) in
      try Recipe.blocks(named: name)
    }
    var resolved = recipe
    if let blocks { (resolved.bits, resolved.group) = (blocks.bits, .columns(blocks.groupSize)) }
    defaultGroup = resolved.group ?? .columns(format.groupSizes[0])
    resolved.group = defaultGroup
    self.recipe = resolved
    let columns = if case .columns(let count) = defaultGroup { count } else { 32 }
    resolved.scheme = try grouping(
      bits: resolved.bits, nil, SchemeWish(name: recipe.scheme), columns: columns,
      offset: blocks?.offset
    ).scheme
    self.recipe = resolved
  }

  /// What happens to one tensor.
  ///
  /// Throws `unsupported` and `usage`.
  mutating func plan(_ tensor: TensorInfo) throws(ModelError) -> TensorPlan {
    do throws(ModelError) {
      let role = roles.role(of: tensor)
      if let rule = recipe.rules.last(where: { $0.matches(tensor.name) }) {
        return try plan(tensor, role, rule)
      }
      switch role {
      case .linear: return try plan(tensor, .quantize, "a linear weight")
      case .embedding:
        return try plan(tensor, hasHead ? format.embeddings : format.head, "token embeddings")
      case .head: return try plan(tensor, format.head, "the output head")
      case .other(let reason): return keep(tensor, reason)
      }
    } catch {
      throw error.located(tensor: tensor.name)
    }
  }

  private mutating func plan(
    _ tensor: TensorInfo, _ treatment: Format.Treatment, _ reason: String
  ) throws(ModelError) -> TensorPlan {
    switch treatment {
    case .keep: return keep(tensor, reason)
    case .quantize,
      .eightBits where blocks != nil:
      return try quantize(tensor, bits: recipe.bits, reason, offset: blocks?.offset)
    case .eightBits:
      // The scheme that was asked for is meant for the other weights.
      let schemes = SchemeWish(name: wanted.scheme, isPreference: true)
      return try quantize(tensor, bits: 8, reason, schemes: schemes)
    }
  }

  private mutating func plan(
    _ tensor: TensorInfo, _ role: TensorRole, _ rule: Rule
  ) throws(ModelError) -> TensorPlan {
    let reason = "rule '\(rule.pattern)=\(rule.choice.text)'"
    switch (rule.choice, role) {
    case (.keep, _):
      var plan = carry(tensor, reason)
      plan.isKeptByRule = true
      return plan
    case (.plain(let type), _):
      guard RowDecoder(tensor.encoding) != nil, tensor.encoding != .plain(type) else {
        return carry(tensor, reason)
      }
      return TensorPlan(
        source: tensor, target: tensor.with(.plain(type)), action: .decode(type), reason: reason)
    // A rule for all tensors does not mean vectors and tables, which cannot be grouped.
    case (_, .other(let exclusion)): return keep(tensor, exclusion)
    case (.quantize(let bits, let group, let scheme), _):
      let schemes = SchemeWish(name: scheme ?? wanted.scheme)
      return try quantize(tensor, bits: bits, reason, group: group, schemes: schemes)
    case (.blocks(let grouping), _):
      // The scheme that was asked for may make other groups only.
      return try quantize(
        tensor, bits: grouping.bits, reason, group: .columns(grouping.groupSize),
        schemes: SchemeWish(name: wanted.scheme, isPreference: true), offset: grouping.offset)
    }
  }

  private func keep(_ tensor: TensorInfo, _ reason: String) -> TensorPlan {
    // Numbers of two types are computed with in float32, which is slow.
    if format.usesOneFloatType, case .plain(let type) = tensor.encoding, type.isDecodable,
      type != wanted.parameters
    {
      return TensorPlan(
        source: tensor, target: tensor.with(.plain(wanted.parameters)),
        action: .decode(wanted.parameters), reason: "\(reason), in the type of the scales")
    }
    return carry(tensor, reason)
  }

  private func carry(_ tensor: TensorInfo, _ reason: String) -> TensorPlan {
    TensorPlan(source: tensor, target: tensor, action: .copy, reason: reason)
  }

  private mutating func quantize(
    _ tensor: TensorInfo, bits: Int, _ reason: String, group: GroupSize? = nil,
    schemes: SchemeWish? = nil, offset: Grouping.Offset? = nil
  ) throws(ModelError) -> TensorPlan {
    switch tensor.encoding {
    case .plain(let type) where !type.isDecodable:
      return keep(tensor, "\(reason), but \(type.name) is carried as it is")
    case .plain: break
    case .grouped, .foreign:
      guard requantizes else {
        throw ModelError(
          .unsupported, "the weight is quantized already", expected: "a 16- or 32-bit weight",
          found: tensor.encoding.description,
          hint: "--requantize rounds it a second time, which loses precision")
      }
      if case .foreign = tensor.encoding, RowDecoder(tensor.encoding) == nil {
        throw ModelError(.unsupported, "\(tensor.encoding) cannot be decoded")
      }
    }
    let columns = tensor.shape.columnCount
    guard columns <= ReadLimits().columnCount else {
      throw ModelError(
        .limit, "a row is too long", expected: "at most \(ReadLimits().columnCount) columns",
        found: "\(columns)", hint: "a rule 'name=keep' copies the tensor as it is")
    }
    let grouping = try grouping(
      bits: bits, group, schemes ?? SchemeWish(name: wanted.scheme), columns: columns,
      offset: offset)
    guard columns > 0, tensor.shape.rowCount > 0, columns % grouping.grouping.groupSize == 0 else {
      let size = grouping.grouping.groupSize
      var plan = keep(tensor, "\(reason), but \(columns) columns are not whole groups of \(size)")
      plan.isIndivisible = true
      return plan
    }
    if let misfit = format.spelling.misfit(tensor.shape, grouping.grouping) {
      var plan = keep(tensor, "\(reason), but \(misfit)")
      plan.misfit = misfit
      return plan
    }
    return TensorPlan(
      source: tensor, target: tensor.with(.grouped(grouping.grouping)),
      action: .quantize(grouping.grouping, scheme: grouping.scheme), reason: reason)
  }

  /// The grouping of a weight, with the first of the schemes that the format can hold.
  private mutating func grouping(
    bits: Int, _ group: GroupSize?, _ schemes: SchemeWish, columns: Int, offset: Grouping.Offset?
  ) throws(ModelError) -> (grouping: Grouping, scheme: String) {
    let size = try groupSize(group ?? defaultGroup, columns: columns)
    let wish = GroupWish(bits: bits, size: size, schemes: schemes, offset: offset)
    if let known = groupings[wish] { return known }
    let found = try grouping(wish)
    groupings[wish] = found
    return found
  }

  private func grouping(
    _ wish: GroupWish
  ) throws(ModelError) -> (grouping: Grouping, scheme: String) {
    let (bits, size, offset, schemes) = (wish.bits, wish.size, wish.offset, wish.schemes.schemes)
    var refusals: (scheme: String?, format: String?) = (nil, nil)
    if !format.bits.contains(bits) {
      refusals.format = "it holds codes of \(format.bits.choices) bits"
    }
    let offsets = schemes.flatMap { scheme in scheme.offsets.map { (scheme, $0) } }
      .filter { offset == nil || $0.1 == offset }
    let usual = offsets.filter { $0.1 == format.usualOffset }
    let others = offsets.filter { $0.1 != format.usualOffset }
    for (scheme, stored) in usual + others where format.bits.contains(bits) {
      let grouping = Grouping(
        bits: bits, groupSize: size, offset: stored, parameters: wanted.parameters)
      if let reason = scheme.refusal(of: grouping) {
        refusals.scheme = refusals.scheme ?? reason
        continue
      }
      let info = TensorInfo(name: "", shape: Shape(1, size), encoding: .grouped(grouping))
      switch format.admits(info) {
      case .exact: return (grouping, scheme.name)
      case .rounded(let reason), .refused(let reason): refusals.format = reason
      }
    }
    if let reason = refusals.format {
      throw ModelError(
        .usage, "\(format.name) cannot hold \(bits)-bit weights so: \(reason)",
        hint: "choose other --bits, --scheme or --parameters")
    }
    let names = schemes.map { $0.name }.joined(separator: ", ")
    let kind = offset == .bias ? "with" : "without"
    let reason = refusals.scheme ?? "it makes no groups \(kind) a bias"
    throw ModelError(
      .usage, "the scheme \(names) does not make \(bits)-bit weights so: \(reason)",
      hint: "choose another --scheme, or other --bits, --group-size or --parameters")
  }

  private func groupSize(_ group: GroupSize, columns: Int) throws(ModelError) -> Int {
    switch group {
    case .columns(let count) where format.groupSizes.contains(count): return count
    case .row where format.allowsRowGroups: return max(1, columns)
    case .columns, .row:
      throw ModelError(
        .usage, "\(format.name) cannot hold groups of \(group == .row ? "a row" : group.text)",
        expected: "groups of \(format.groupSizes.sorted().choices)"
          + (format.allowsRowGroups ? ", or 'row'" : ""), found: group.text,
        hint: "use --group-size \(format.groupSizes[0])")
    }
  }

  /// What a user should know: rows that no group divides.
  func notes(_ tensors: [TensorPlan]) -> [String] {
    func subject(_ count: Int) -> String {
      count == 1 ? "1 weight is" : "\(count) weights are"
    }
    var notes: [String] = []
    let kept = tensors.filter(\.isIndivisible)
    if let first = kept.first?.source {
      notes.append(
        "\(subject(kept.count)) kept, since no group divides the rows: "
          + "\(first.name) has \(first.shape.columnCount) columns")
    }
    let misfits = tensors.filter { $0.misfit != nil }
    if let first = misfits.first, let misfit = first.misfit {
      notes.append("\(subject(misfits.count)) kept: \(misfit) for \(first.source.name)")
    }
    return notes
  }
}

extension TensorInfo {
  /// The same tensor, encoded otherwise.
  func with(_ encoding: Encoding) -> TensorInfo {
    TensorInfo(name: name, shape: shape, encoding: encoding)
  }
}

extension TensorPlan {
  /// The plan with adapters added before the tensor gets its new form.
  ///
  /// Throws `unsupported`.
  fileprivate func adding(
    _ changes: [PairedChange], to format: Format
  ) throws(ModelError) -> TensorPlan {
    guard !changes.isEmpty else { return self }
    var plan = self
    switch action {
    case .quantize(let grouping, let scheme)
    where grouping.offset != .bias && changes.contains(where: { $0.groupSize != nil }):
      throw ModelError(
        .unsupported, "the scheme stores no offsets that a QA-LoRA adapter could move",
        tensor: source.name, expected: "a scheme with a bias, such as minmax", found: scheme,
        hint: "or quantize first, and fold then")
    case .quantize, .decode:
      plan.changes = changes
      if case .decode(let type) = action { plan.action = .merge(type) }
    default:
      // A tensor that stays as it is takes an adapter up as in a fold.
      let decision = try FoldPlanner(format).decide(source, changes)
      guard case .exact = decision.admission else {
        throw ModelError(
          .unsupported, "the adapter cannot be added to a weight that is not quantized from floats",
          tensor: source.name, found: source.encoding.description)
      }
      plan = decision.plan
    }
    plan.reason = reason + ", with the adapter"
    return plan
  }
}
