internal import Architectures
internal import Bytes
internal import Formats
internal import Quantization
internal import TensorModel
internal import Weights

/// Decides for each tensor whether and how it is quantized.
///
/// It sees descriptions only, and reads nothing.
struct QuantizationPlanner {
  /// The recipe with the defaults of the format filled in.
  private(set) var recipe: Recipe
  private let wanted: Recipe
  /// The groups of the block type that the recipe names; nil without one.
  let blocks: Grouping?
  private let defaultGroup: GroupSize
  let format: Format
  private let requantizes: Bool
  let catalog: Catalog
  var roles: TensorRoles
  private let head: HeadPlan
  /// Whether the output has a head; otherwise the embeddings serve as the head.
  private lazy var hasHead = head.hasHead(
    catalog.tensors.contains { roles.role(of: $0) == .head })
  private var quantizers: QuantizerChoice

  /// Creates a planner.
  ///
  /// Throws `usage` if the format cannot store what the recipe asks for.
  init(
    _ recipe: Recipe, _ format: Format, _ catalog: Catalog, _ head: HeadPlan, requantizing: Bool
  ) throws(ModelError) {
    self.head = head
    self.format = format
    quantizers = QuantizerChoice(format, recipe.parameters)
    requantizes = requantizing
    self.catalog = catalog
    roles = TensorRoles(catalog)
    guard !format.bits.isEmpty else {
      let able = Formats.all.filter { !$0.bits.isEmpty }.map(\.name)
      throw ModelError(
        .usage, "\(format.name) cannot store quantized weights",
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
    resolved.scheme = try quantizer(
      bits: resolved.bits, nil, .init(name: recipe.scheme), columns: columns,
      offset: blocks?.offset
    ).schemeName
    self.recipe = resolved
  }

  /// The decision for one tensor.
  ///
  /// Throws `unsupported`, `usage` and `limit`.
  mutating func decide(_ tensor: TensorInfo) throws(ModelError) -> TensorWish {
    do throws(ModelError) {
      let role = roles.role(of: tensor)
      if let rule = recipe.rules.last(where: { $0.matches(tensor.name) }) {
        return try decide(tensor, role, rule)
      }
      switch role {
      case .linear: return try decide(tensor, .quantize, "a linear weight")
      case .embedding:
        return try decide(tensor, hasHead ? format.embeddings : format.head, "token embeddings")
      case .head: return try decide(tensor, format.head, "the output head")
      case .tower: return keep(tensor, "a vision or audio tower")
      case .other(let reason): return keep(tensor, reason)
      }
    } catch {
      throw error.located(tensor: tensor.name)
    }
  }

  private mutating func decide(
    _ tensor: TensorInfo, _ treatment: Format.Treatment, _ reason: String
  ) throws(ModelError) -> TensorWish {
    switch treatment {
    case .keep: return keep(tensor, reason)
    case .quantize,
      .eightBits where blocks != nil:
      return try quantize(tensor, bits: recipe.bits, reason, offset: blocks?.offset)
    case .eightBits:
      // The scheme of the recipe is meant for the linear weights, and may not support 8 bits.
      let schemes = QuantizerChoice.Preference(name: wanted.scheme, allowsOthers: true)
      return try quantize(tensor, bits: 8, reason, schemes: schemes)
    }
  }

  private mutating func decide(
    _ tensor: TensorInfo, _ role: TensorRole, _ rule: Rule
  ) throws(ModelError) -> TensorWish {
    let reason = "rule '\(rule.pattern)=\(rule.choice.text)'"
    switch (rule.choice, role) {
    case (.keep, _):
      var wish = TensorWish(keeping: tensor, reason)
      wish.isKeptByRule = true
      return wish
    case (.plain(let type), _):
      guard !tensor.isGrouped, tensor.isDecodable, tensor.encoding != .plain(type) else {
        return TensorWish(keeping: tensor, reason)
      }
      return TensorWish(decoding: tensor, to: type, reason)
    // Vectors, tables and routers are not quantized, even if the pattern of a rule matches them.
    case (_, .other(let exclusion)): return keep(tensor, exclusion)
    case (.quantize(let bits, let group, let scheme), _):
      let schemes = QuantizerChoice.Preference(name: scheme ?? wanted.scheme)
      return try quantize(tensor, bits: bits, reason, group: group, schemes: schemes)
    case (.blocks(let grouping), _):
      // The scheme of the recipe may not support the groups of these blocks.
      return try quantize(
        tensor, bits: grouping.bits, reason, group: .columns(grouping.groupSize),
        schemes: .init(name: wanted.scheme, allowsOthers: true), offset: grouping.offset)
    }
  }

  private func keep(_ tensor: TensorInfo, _ reason: String) -> TensorWish {
    // Runtimes are slow with numbers of two types, because they convert to float32.
    if format.usesOneFloatType, case .plain(let type) = tensor.encoding, type.isDecodable,
      type != wanted.parameters
    {
      return TensorWish(
        decoding: tensor, to: wanted.parameters, "\(reason), stored in the type of the scales")
    }
    return TensorWish(keeping: tensor, reason)
  }

  private func keep(
    _ tensor: TensorInfo, _ reason: String, _ exception: TensorWish.Exception
  ) -> TensorWish {
    var wish = keep(tensor, reason)
    wish.exception = exception
    return wish
  }

  private mutating func quantize(
    _ tensor: TensorInfo, bits: Int, _ reason: String, group: GroupSize? = nil,
    schemes: QuantizerChoice.Preference? = nil, offset: Grouping.Offset? = nil
  ) throws(ModelError) -> TensorWish {
    if case .plain(let type) = tensor.encoding, !type.isDecodable {
      let refusal = "Pleat does not quantize \(type.name)"
      return keep(tensor, "\(reason), but \(refusal)", .type(refusal))
    }
    try checkCanRound(tensor)
    let columns = tensor.shape.columnCount
    let quantizer = try quantizer(
      bits: bits, group, schemes ?? .init(name: wanted.scheme), columns: columns, offset: offset)
    let grouping = quantizer.grouping
    guard columns > 0, tensor.shape.rowCount > 0, columns % grouping.groupSize == 0 else {
      return keep(
        tensor,
        "\(reason), but \(columns) columns are not a multiple of the group size "
          + "\(grouping.groupSize)",
        .indivisible)
    }
    if let refusal = format.codec.shapeRefusal(tensor.shape, grouping) {
      return keep(tensor, "\(reason), but \(refusal)", .shape(refusal))
    }
    return TensorWish(
      tensor, to: .grouped(grouping), .encode([], .groups(quantizer)), reason)
  }

  /// Checks that the weight may be quantized.
  ///
  /// Throws `unsupported` if it is already quantized and must not be quantized again, and `limit`
  /// if its rows are too long.
  private func checkCanRound(_ tensor: TensorInfo) throws(ModelError) {
    switch tensor.encoding {
    case .plain: break
    case .grouped, .foreign:
      guard requantizes else {
        throw ModelError(
          .unsupported, "the weight is already quantized", expected: "a 16- or 32-bit weight",
          found: tensor.encoding.description,
          hint: "--requantize quantizes it again, which loses precision")
      }
      guard tensor.isDecodable else {
        throw ModelError(.unsupported, "Pleat cannot decode \(tensor.encoding)")
      }
    }
    let columns = tensor.shape.columnCount
    guard columns <= ReadLimits().columnCount else {
      throw ModelError(
        .limit, "a row is too long", expected: "at most \(ReadLimits().columnCount) columns",
        found: "\(columns)", hint: "--rule 'name=keep' copies the tensor unchanged")
    }
  }

  private mutating func quantizer(
    bits: Int, _ group: GroupSize?, _ schemes: QuantizerChoice.Preference, columns: Int,
    offset: Grouping.Offset?
  ) throws(ModelError) -> any Quantizer {
    let size = try groupSize(group ?? defaultGroup, columns: columns)
    return try quantizers.quantizer(bits: bits, groupSize: size, schemes, offset)
  }

  private func groupSize(_ group: GroupSize, columns: Int) throws(ModelError) -> Int {
    switch group {
    case .columns(let count) where format.groupSizes.contains(count): return count
    case .row where format.allowsRowGroups: return max(1, columns)
    case .columns, .row:
      throw ModelError(
        .usage,
        "\(format.name) cannot store groups of \(group == .row ? "a whole row" : group.text)",
        expected: "groups of \(format.groupSizes.sorted().choices)"
          + (format.allowsRowGroups ? ", or 'row'" : ""), found: group.text,
        hint: "use --group-size \(format.groupSizes[0])")
    }
  }
}
