internal import Architectures
internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel
internal import Weights

/// Decides for each tensor whether and how it is quantized.
///
/// It sees descriptions only, and reads nothing.
struct QuantizationPlanner {
  /// The recipe with the defaults of the format filled in.
  private(set) var recipe: Recipe
  let wanted: Recipe
  /// The groups of the mix that the recipe names, for formats without blocks; nil otherwise.
  let blocks: Grouping?
  /// The types that the mix gives to the tensors; nil without a mix.
  private(set) var mix: MixPlan?
  private var defaultGroup = GroupSize.columns(32)
  let format: Format
  private let requantizes: Bool
  let importance: Importance?
  let catalog: Catalog
  /// Whether the tensors have the names of llama.cpp.
  private let isGGUF: Bool
  /// The tensors whose numbers are those of blocks of a GGUF file that are arranged in another way.
  private let decoded: Set<Int>
  var roles: TensorRoles
  private let head: HeadPlan
  /// Whether the output has a head; otherwise the embeddings serve as the head.
  private lazy var hasHead = head.hasHead(
    catalog.tensors.contains { roles.role(of: $0) == .head })
  var quantizers: QuantizerChoice
  private var decisions = SharedDecisions<Grounds>()

  /// Creates a planner.
  ///
  /// Throws `usage` if the format cannot store what the recipe asks for, and what a mix throws.
  init(
    _ recipe: Recipe, _ format: Format, _ subject: MixPlan.Subject, _ head: HeadPlan,
    requantizing: Bool
  ) throws(ModelError) {
    try Self.check(format)
    try recipe.validate()
    self.head = head
    self.format = format
    quantizers = QuantizerChoice(format, recipe)
    requantizes = requantizing
    importance = subject.importance
    catalog = subject.model.catalog
    isGGUF = subject.model.isGGUF
    decoded = Set(isGGUF ? catalog.tensors.indices.filter(subject.model.isDecodedView) : [])
    roles = TensorRoles(catalog)
    wanted = recipe
    let mix = try recipe.type.map { (name) throws(ModelError) in try Mix.named(name) }
    let isMixed = mix != nil && format.holdsBlocks
    blocks = isMixed ? nil : try Self.groups(mix, format)
    self.recipe = recipe
    self.recipe.parameters = recipe.parameters ?? (recipe.mode == nil ? .f16 : nil)
    if isMixed || recipe.mode != nil { defaultGroup = .columns(format.groupSizes[0]) }
    if let mix, isMixed {
      try recipe.checkParameters(of: mix)
      self.recipe.scheme = try quantizers.scheme(for: mix).name
      self.mix = try MixPlan(mix, recipe, for: subject)
    } else {
      try recipe.checkIsMixed()
      if let mode = recipe.mode { try resolve(mode) } else { try resolveGroups() }
    }
    try checkImportance()
    try checkEffort()
  }

  /// Fills in the groups and the scheme for recipes without a mix.
  private mutating func resolveGroups() throws(ModelError) {
    if let blocks { (recipe.bits, recipe.group) = (blocks.bits, .columns(blocks.groupSize)) }
    recipe.bits = recipe.bits ?? Recipe.usualBits
    defaultGroup = recipe.group ?? .columns(format.groupSizes[0])
    recipe.group = defaultGroup
    let columns = if case .columns(let count) = defaultGroup { count } else { 32 }
    recipe.scheme = try quantizer(
      bits: bits, nil, .init(name: wanted.scheme), columns: columns, offset: offset,
      parameters: recipe.parameters ?? .f16
    ).schemeName
  }

  /// Fills in what a mode of MLX determines.
  ///
  /// Throws `usage` if the format does not store it.
  private mutating func resolve(_ mode: ScaledMode) throws(ModelError) {
    try checkHolds(mode)
    (recipe.bits, recipe.group) = (nil, nil)
  }

  /// The bits of a code where the mix or a rule says nothing else.
  private var bits: Int { recipe.bits ?? Recipe.usualBits }

  /// What groups store besides their scale; nil if the format chooses.
  private var offset: Grouping.Offset? { blocks?.offset ?? wanted.offset }

  /// Throws `usage` if a format cannot store quantized weights.
  private static func check(_ format: Format) throws(ModelError) {
    guard format.bits.isEmpty else { return }
    let able = Formats.all.filter { !$0.bits.isEmpty }.map(\.name)
    throw ModelError(
      .usage, "\(format.name) cannot store quantized weights",
      expected: "--to " + able.joined(separator: " or --to "), found: "--to \(format.name)")
  }

  /// The groups of the base type of a mix, for a format that stores no blocks; nil without a mix.
  ///
  /// Throws `usage` if the blocks store no groups.
  private static func groups(_ mix: Mix?, _ format: Format) throws(ModelError) -> Grouping? {
    guard let mix else { return nil }
    if case .grouped(let grouping) = GGMLCodec.encoding(of: mix.base.encoding) { return grouping }
    let able = Formats.all.filter(\.holdsBlocks).map(\.name)
    throw ModelError(
      .usage, "\(format.name) cannot store the blocks of \(mix.name)",
      expected: "--to " + able.joined(separator: " or --to "), found: "--to \(format.name)",
      hint: "--bits and --group-size choose groups")
  }

  /// Throws `usage` if there is an effort and the scheme does not search.
  private func checkEffort() throws(ModelError) {
    guard let effort = recipe.effort, let name = recipe.scheme, try !Schemes.named(name).searches
    else { return }
    throw ModelError(
      .usage, "the scheme \(name) does not search, so there is no effort to choose",
      expected: "--scheme search", found: "--effort \(effort.rawValue)")
  }

  /// Throws `usage` if there is an importance matrix and the scheme does not use it.
  private func checkImportance() throws(ModelError) {
    if importance != nil, let mode = recipe.mode {
      throw ModelError(
        .usage, "the mode \(mode.name) does not use importance: it rounds as MLX does",
        expected: "--bits and --group-size, or --type", found: "--mode \(mode.name)")
    }
    guard importance != nil, let name = recipe.scheme, try !Schemes.named(name).usesImportance
    else { return }
    let able = Schemes.all.filter(\.usesImportance).map(\.name)
    throw ModelError(
      .usage, "the scheme \(name) does not use importance",
      expected: "--scheme " + able.joined(separator: " or --scheme "), found: "--scheme \(name)")
  }

  /// Everything that a decision depends on; the experts of all layers have few different ones.
  private struct Grounds: Equatable {
    var form: TensorForm
    var role: TensorRole
    /// The last rule that matches the name; nil if none does.
    var rule: Rule?
    /// The choice of the mix; nil without one.
    var choice: MixChoice?
    /// The choice of the mix, if it heard the rule.
    var ruledChoice: MixChoice?
  }

  /// The decision for the tensor of the output at an index.
  ///
  /// Throws `unsupported`, `usage` and `limit`.
  mutating func decide(_ tensor: TensorInfo, at index: Int) throws(ModelError) -> TensorWish {
    let grounds = Grounds(
      form: tensor.form, role: roles.role(of: tensor),
      rule: recipe.rules.last { $0.matches(tensor.name) }, choice: mix?.choice(at: index),
      ruledChoice: mix?.ruledChoice(at: index))
    var wish: TensorWish
    if let known = decisions.wish(named: tensor.name, on: grounds) {
      wish = known
    } else {
      do throws(ModelError) {
        wish = decisions.keep(try decide(tensor, on: grounds), on: grounds)
      } catch {
        throw error.located(tensor: tensor.name)
      }
    }
    if decoded.contains(index), wish.target.hasParts, !requantizes {
      throw Self.requantization(of: tensor, found: "blocks that are decoded")
    }
    // A copy of the matrix, even of none, would take as long as the decision.
    if case .some = importance, wish.usesImportance {
      wish.importance = importance?.columns(of: tensor)
    }
    return wish
  }

  private mutating func decide(
    _ tensor: TensorInfo, on grounds: Grounds
  ) throws(ModelError) -> TensorWish {
    if let rule = grounds.rule { return try decide(tensor, on: grounds, rule) }
    let role = grounds.role
    if role.allowsMix(knowsNames: !recipe.isPure || isGGUF), let choice = grounds.choice {
      return try decide(tensor, choice, choice.reason)
    }
    switch role {
    case .linear where mix != nil, .embedding where mix != nil, .head where mix != nil:
      return keep(tensor, "llama.cpp has no place for it")
    case .linear: return try decide(tensor, .quantize, "a linear weight")
    case .embedding:
      return try decide(tensor, hasHead ? format.embeddings : format.head, "token embeddings")
    case .head: return try decide(tensor, format.head, "the output head")
    case .tower: return keep(tensor, "a vision or audio tower")
    case .other(let reason): return keep(tensor, reason)
    }
  }

  private mutating func decide(
    _ tensor: TensorInfo, _ treatment: Format.Treatment, _ reason: String
  ) throws(ModelError) -> TensorWish {
    if let mode = recipe.mode, treatment != .keep {
      return try quantize(tensor, in: mode, reason)
    }
    switch treatment {
    case .keep: return keep(tensor, reason)
    case .quantize,
      .eightBits where blocks != nil:
      return try quantize(tensor, bits: bits, reason, offset: offset)
    case .eightBits:
      // Scheme and offset of the recipe are meant for the linear weights, and may not go with 8
      // bits.
      let schemes = QuantizerChoice.Preference(name: wanted.scheme, allowsOthers: true)
      return try quantize(tensor, bits: 8, reason, schemes: schemes)
    }
  }

  private mutating func decide(
    _ tensor: TensorInfo, on grounds: Grounds, _ rule: Rule
  ) throws(ModelError) -> TensorWish {
    let reason = rule.reason
    switch (rule.choice, grounds.role) {
    case (.keep, _):
      var wish = tensor.isScaled ? keep(tensor, reason) : TensorWish(keeping: tensor, reason)
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
      return try quantize(
        tensor, bits: bits, reason, group: group, schemes: schemes, offset: offset)
    case (.mode(let mode), _): return try quantize(tensor, in: mode, reason)
    case (.blocks(BlockType.mxfp4.encoding), _) where meansMode(of: BlockType.mxfp4):
      return try quantize(tensor, in: .mxfp4, reason)
    case (.blocks(let encoding), _):
      guard let choice = grounds.ruledChoice else {
        return try quantize(tensor, encoding, reason)
      }
      return try decide(tensor, choice, choice.reason)
    }
  }

  func keep(_ tensor: TensorInfo, _ reason: String) -> TensorWish {
    // Runtimes are slow with numbers of two types, because they convert to float32.
    if case .plain(let own) = tensor.encoding, own.isDecodable, let type = commonType(for: own),
      type != own
    {
      let what = wanted.mode == nil ? "the type of the scales" : type.name
      return TensorWish(decoding: tensor, to: type, "\(reason), stored in \(what)")
    }
    guard format.carries(tensor.encoding) != .exact else {
      return TensorWish(keeping: tensor, reason)
    }
    if let wish = TensorWish(rearranging: tensor, for: format, reason) { return wish }
    if let codes = tensor.scaled {
      let type = commonType(for: codes.decoded) ?? codes.decoded
      return TensorWish(decoding: tensor, to: type, "\(reason), decoded")
    }
    return TensorWish(keeping: tensor, reason)
  }

  func keep(
    _ tensor: TensorInfo, _ reason: String, _ exception: TensorWish.Exception
  ) -> TensorWish {
    var wish = keep(tensor, reason)
    wish.exception = exception
    return wish
  }

  /// The wish for a weight that cannot be quantized in groups or blocks of a size; nil if it can.
  ///
  /// Throws `unsupported` if it is already quantized and must not be quantized again, and `limit`
  /// if its rows are too long.
  func unquantizable(
    _ tensor: TensorInfo, _ reason: String, groupSize: Int
  ) throws(ModelError) -> TensorWish? {
    if case .plain(let type) = tensor.encoding, !type.isDecodable {
      let refusal = "Pleat does not quantize \(type.name)"
      return keep(tensor, "\(reason), but \(refusal)", .type(refusal))
    }
    try checkCanRound(tensor)
    let columns = tensor.shape.columnCount
    guard columns > 0, tensor.shape.rowCount > 0, columns % groupSize == 0 else {
      return keep(
        tensor,
        "\(reason), but \(columns) columns are not a multiple of the group size \(groupSize)",
        .indivisible)
    }
    return nil
  }

  mutating func quantize(
    _ tensor: TensorInfo, bits: Int, _ reason: String, group: GroupSize? = nil,
    schemes: QuantizerChoice.Preference? = nil, offset: Grouping.Offset? = nil
  ) throws(ModelError) -> TensorWish {
    let quantizer = try quantizer(
      bits: bits, group, schemes ?? .init(name: wanted.scheme), columns: tensor.shape.columnCount,
      offset: offset, parameters: parameters(of: tensor))
    let grouping = quantizer.grouping
    if let wish = try unquantizable(tensor, reason, groupSize: grouping.groupSize) { return wish }
    if let refusal = format.codec.shapeRefusal(tensor.shape, grouping) {
      return keep(tensor, "\(reason), but \(refusal)", .shape(refusal))
    }
    var wish = TensorWish(
      tensor, to: .grouped(grouping), .encode([], .groups(quantizer)), reason)
    wish.usesImportance = quantizer.usesImportance
    return wish
  }

  /// Checks that the weight may be quantized.
  ///
  /// Throws `unsupported` if it is already quantized and must not be quantized again, and `limit`
  /// if its rows are too long.
  private func checkCanRound(_ tensor: TensorInfo) throws(ModelError) {
    switch tensor.encoding {
    case .plain: break
    // Tools ship 8 bits as the most precise weights that there are.
    case .scaled(let codes) where codes.bitWidth == 8: break
    case .grouped, .foreign, .scaled:
      guard requantizes else {
        throw Self.requantization(of: tensor, found: tensor.encoding.description)
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

  private static func requantization(of tensor: TensorInfo, found: String) -> ModelError {
    ModelError(
      .unsupported, "the weight is already quantized", tensor: tensor.name,
      expected: "a 16- or 32-bit weight, or FP8", found: found,
      hint: "--requantize quantizes it again, which loses precision")
  }

  private mutating func quantizer(
    bits: Int, _ group: GroupSize?, _ schemes: QuantizerChoice.Preference, columns: Int,
    offset: Grouping.Offset?, parameters: ScalarType
  ) throws(ModelError) -> any Quantizer {
    let size = try groupSize(group ?? defaultGroup, columns: columns)
    return try quantizers.quantizer(
      bits: bits, groupSize: size, schemes, offset, parameters: parameters)
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
