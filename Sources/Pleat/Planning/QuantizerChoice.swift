internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Chooses quantizers: a scheme and an offset that a format can store, for given bits and groups.
struct QuantizerChoice {
  private let format: Format
  private let recipe: Recipe
  // Many weights ask for the same quantizer.
  private var known: [Request: any Quantizer] = [:]

  /// The scheme that the user prefers.
  struct Preference: Hashable {
    /// The name; nil for the standard scheme.
    var name: String?
    /// Whether the standard scheme is tried after the named one.
    var allowsOthers = false
  }

  private struct Request: Hashable {
    var bits: Int
    var groupSize: Int
    var schemes: Preference
    var offset: Grouping.Offset?
    var parameters: ScalarType
  }

  /// Creates a choice for a format, with the scheme and the effort of a recipe.
  init(_ format: Format, _ recipe: Recipe) {
    self.format = format
    self.recipe = recipe
  }

  private var effort: Effort { recipe.effort ?? .default }

  /// The scheme that makes the blocks of a mix.
  ///
  /// Throws `usage` if the user chose one that does not make those of most tensors.
  func scheme(for mix: Mix) throws(ModelError) -> Scheme {
    guard let name = recipe.scheme else { return Schemes.standard }
    let scheme = try Schemes.named(name)
    func makes(_ scheme: Scheme) -> Bool {
      guard case .grouped(let grouping) = GGMLCodec.encoding(of: mix.base.encoding) else {
        return scheme.makesBlocks
      }
      return scheme.offsets.contains(grouping.offset) && scheme.refusal(grouping) == nil
    }
    guard !makes(scheme) else { return scheme }
    let able = Schemes.all.filter(makes).map(\.name)
    throw ModelError(
      .usage, "the scheme \(name) does not make the blocks of \(mix.name)",
      expected: "--scheme " + able.joined(separator: " or --scheme "), found: "--scheme \(name)")
  }

  /// The encoder for a block type: that of the recipe's scheme, if it makes blocks.
  func encoder(
    _ type: BlockType, columnCount: Int
  ) throws(ModelError) -> any RowEncoder {
    for scheme in [try recipe.scheme.map(Schemes.named), Schemes.standard] {
      let encoder = scheme?.encoder(type, columnCount: columnCount, effort: effort)
      if let encoder { return encoder }
    }
    preconditionFailure("the standard scheme makes blocks")
  }

  /// The quantizer for groups of a form.
  ///
  /// - Parameters:
  ///   - bits: The width of a code.
  ///   - groupSize: The number of columns in a group, which the format must allow.
  ///   - schemes: The scheme that the user prefers.
  ///   - offset: What a group stores besides its scale; nil for what the format prefers.
  ///   - parameters: The stored type of scales and biases.
  /// - Returns: The quantizer.
  /// - Throws: `usage` if no scheme makes groups that the format can store.
  mutating func quantizer(
    bits: Int, groupSize: Int, _ schemes: Preference, _ offset: Grouping.Offset?,
    parameters: ScalarType
  ) throws(ModelError) -> any Quantizer {
    let request = Request(
      bits: bits, groupSize: groupSize, schemes: schemes, offset: offset, parameters: parameters)
    if let quantizer = known[request] { return quantizer }
    let quantizer = try choose(request)
    known[request] = quantizer
    return quantizer
  }

  private func choose(_ request: Request) throws(ModelError) -> any Quantizer {
    var refusals: (scheme: String?, format: String?) = (nil, nil)
    for (scheme, offset) in try candidates(request) {
      let grouping = Grouping(
        bits: request.bits, groupSize: request.groupSize, offset: offset,
        parameters: request.parameters)
      if let reason = scheme.refusal(grouping) {
        refusals.scheme = refusals.scheme ?? reason
        continue
      }
      switch format.makes(grouping) {
      case .exact: return scheme.quantizer(grouping, effort: effort)
      case .rounded(let reason), .refused(let reason): refusals.format = reason
      }
    }
    if let reason = refusals.format {
      throw ModelError(
        .usage, "\(format.name) does not support \(request.bits) bits here: \(reason)",
        hint: recipe.type == nil
          ? "choose other --bits, --offset, --scheme or --parameters"
          : "choose another --type, or --bits and --group-size instead")
    }
    let kind =
      switch request.offset {
      case .bias: "a bias"
      case .zeroPoint: "a zero point"
      case .none?, nil: "a scale only"
      }
    let reason = refusals.scheme ?? "it makes no groups with \(kind)"
    let scheme = request.schemes.name ?? ""
    throw ModelError(
      .usage, "the scheme \(scheme) does not support \(request.bits) bits here: \(reason)",
      hint: "choose another --scheme, or other --bits, --group-size, --offset or --parameters")
  }

  /// Pairs of a scheme and an offset, in the order in which they are tried.
  ///
  /// Pairs with the offset that the recipe or the format prefers come first.
  private func candidates(
    _ request: Request
  ) throws(ModelError) -> [(scheme: Scheme, offset: Grouping.Offset)] {
    var schemes = try [request.schemes.name.map(Schemes.named)].compactMap(\.self)
    if schemes.isEmpty || request.schemes.allowsOthers { schemes.append(Schemes.standard) }
    let all = schemes.flatMap { scheme in scheme.offsets.map { (scheme: scheme, offset: $0) } }
      .filter { request.offset == nil || $0.offset == request.offset }
    let usual = recipe.offset ?? format.usualOffset
    return all.filter { $0.offset == usual } + all.filter { $0.offset != usual }
  }
}
