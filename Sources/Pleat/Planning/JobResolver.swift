package import Formats
package import TensorModel
package import Weights

/// Resolves wishes to jobs, tensor by tensor, in four steps: translate, admit, partition, allocate.
///
/// It sees descriptions and locations only, and reads no numbers.
package struct JobResolver {
  private let model: Model
  private let destination: Destination
  private let permitsRounding: Bool
  private let scales: ScaleTensors
  private var format: Format { destination.format }

  /// The jobs so far.
  package private(set) var jobs: [TensorJob] = []
  /// The stored tensors of the output so far.
  package private(set) var stored: [StoredTensor] = []
  /// The weights of the output so far: a stack is one, and so is each tensor of a divided one.
  package private(set) var targets: [TensorInfo] = []
  /// The total length of the targets so far, in bytes.
  package private(set) var byteCount = 0

  // The index in `stored` of each stack, and the form of its matrices.
  private var stacks: [ExactName: (storedIndices: [Int], matrix: TensorInfo)] = [:]
  private var mostParts = 0
  private var recentLayouts: [Layouts] = []
  private var recentParts: [StoredTensor] = []
  // Arrays of nil by the number of parts: jobs that copy nothing share their memory.
  private var noSources: [Int: [StoredLocation?]] = [:]

  /// At least the number of different tensors in a layer.
  private static let recentLayoutCount = 16
  private static let recentPartCount = 48

  /// Creates a resolver for the output at a destination.
  package init(_ model: Model, _ destination: Destination, permitsRounding: Bool) {
    self.model = model
    self.destination = destination
    self.permitsRounding = permitsRounding
    scales = ScaleTensors(of: model)
  }

  /// Appends the job of the next tensor of the catalog, or of one that is stored in addition.
  ///
  /// - Parameters:
  ///   - wish: The planner's decision.
  ///   - translation: The translation to the names of a runtime; nil if names stay the same.
  /// - Throws: `unsupported` for a tensor that the format cannot store, and for a weight that cannot
  ///   be decoded or changed without its scale.
  package mutating func append(
    _ wish: TensorWish, _ translation: (any Translation)?
  ) throws(ModelError) {
    try scales.check(wish)
    var wish = wish
    if let translation {
      wish = try wish.translated(translation.placements[jobs.count], for: translation.runtime)
    }
    let index = wish.sourceIndex ?? jobs.count
    let admission = try admit(wish)
    var parts: [StoredTensor] = []
    if case .omit = wish.transform {} else { parts = format.codec.parts(of: wish.target) }
    let source = model.parts(of: index)
    wish.transform = repacking(wish, source, parts)
    let layouts = layouts(wish, source, parts)
    let edited = editedBiases(wish)
    let sources = copySources(wish, index, edited, source, partCount: parts.count)
    for part in parts.indices {
      let block = layouts.target[part].byteCount(of: 0..<layouts.source.unitsPerBlock)
      parts[part].blockByteCount = max(1, block)
      parts[part].checksum = sources[part]?.checksum
    }
    let place = try allocate(parts, for: wish)
    jobs.append(
      TensorJob(
        source: wish.source, target: wish.target, reason: wish.reason, sourceIndex: index,
        transform: wish.transform, importance: wish.importance, admission: admission,
        allowsNonFinite: wish.isKeptByRule,
        partition: layouts.source, targetLayouts: layouts.target, place: place,
        copySources: sources, rowOrder: wish.placement?.rowOrder, editedBiases: edited))
  }

  // MARK: - Admit

  /// Whether the format can store the target exactly or only rounded.
  ///
  /// Throws `unsupported` if it cannot, or if rounding is not permitted.
  private func admit(_ wish: TensorWish) throws(ModelError) -> Admission {
    if case .omit = wish.transform { return .exact }
    let admission = format.admission(of: wish.target)
    switch admission {
    case .exact: break
    case .rounded where permitsRounding: break
    case .rounded(let reason):
      throw ModelError(
        .unsupported, "the format can store the weight only rounded: \(reason)",
        tensor: wish.source.name, hint: "--round allows that")
    case .refused(let reason):
      throw ModelError(
        .unsupported, reason, tensor: wish.source.name, hint: wish.refusalHint)
    }
    return admission
  }

  /// The transform of a wish, with copied groups repacked if both formats differ in the layout.
  private func repacking(
    _ wish: TensorWish, _ source: [StoredTensor], _ parts: [StoredTensor]
  ) -> Transform {
    guard case .copy = wish.transform, case .grouped(let grouping) = wish.source.encoding,
      !format.sharesLayout(with: model.format)
        || source.map(\.encoding) != parts.map(\.encoding)
        || source.map(\.rows) != parts.map(\.rows)
    else { return wish.transform }
    return .regroup(grouping, offsetMoves: [])
  }

  // MARK: - Partition

  /// How a tensor is divided into blocks, in the source and in the target.
  private struct Layouts: Hashable {
    var source: BlockPartition
    var target: [RowLayout]
  }

  private mutating func layouts(
    _ wish: TensorWish, _ source: [StoredTensor], _ target: [StoredTensor]
  ) -> Layouts {
    let multiple = wish.placement?.rowOrder?.headSize ?? 1
    let layouts: Layouts
    if let width = elementWidth(wish, source, target) {
      let partition = BlockPartition(wish.source, source, unit: .element, multiple: multiple)
      layouts = Layouts(
        source: partition,
        target: [RowLayout(rowByteCount: width, byteCount: target[0].byteCount)])
    } else {
      let rows = target.map(\.rows)
      // A table that an adapter makes longer has blocks for all of its new rows.
      var info = wish.source
      if wish.placement?.shape == nil { info.shape = wish.target.shape }
      let partition = BlockPartition(
        info, source, unit: .row, fitting: rows, multiple: multiple)
      layouts = Layouts(source: partition, target: rows)
    }
    // Layers repeat, so tensors with equal layouts share the memory of their layouts.
    if let known = recentLayouts.first(where: { $0 == layouts }) { return known }
    recentLayouts = [layouts] + recentLayouts.prefix(Self.recentLayoutCount - 1)
    return layouts
  }

  /// The bytes of an element, or of a block of a block type, in the target.
  ///
  /// nil if the tensor must be divided by rows.
  private func elementWidth(
    _ wish: TensorWish, _ source: [StoredTensor], _ target: [StoredTensor]
  ) -> Int? {
    // Rows that are reordered must be complete. A vector is reordered number by number.
    let keepsRows = wish.placement?.rowOrder == nil || wish.source.shape.rank < 2
    guard source.count == 1, target.count == 1, keepsRows, !wish.source.isGrouped,
      source[0].rows.rowsPerStep == 1
    else { return nil }
    let (count, byteCount) = wish.source.encoding.block
    switch wish.transform {
    case .copy: return max(1, byteCount)
    case .encode(_, let encoder) where !wish.transform.foldsAdapters:
      return encoder.plainType.map { count * $0.bitWidth / 8 }
    case .encode, .regroup, .rearrange, .moveMinima, .omit: return nil
    }
  }

  // MARK: - Allocate

  /// The biases that a fold changes in place; nil if the complete tensor is written anew.
  private func editedBiases(_ wish: TensorWish) -> TensorJob.EditedBiases? {
    guard case .regroup(let grouping, let moves) = wish.transform, !moves.isEmpty,
      wish.source.encoding == .grouped(grouping), format.sharesLayout(with: model.format),
      let field = format.codec.biasField(of: grouping)
    else { return nil }
    return TensorJob.EditedBiases(
      field: field, isWholePart: field.stride == grouping.parameters.bitWidth / 8)
  }

  /// For each part of the target, the location in the source that it is copied from.
  ///
  /// nil for a part that a worker must read or transform.
  private mutating func copySources(
    _ wish: TensorWish, _ index: Int, _ edited: TensorJob.EditedBiases?, _ source: [StoredTensor],
    partCount: Int
  ) -> [StoredLocation?] {
    let none = noSources[partCount] ?? Array(repeating: nil, count: partCount)
    noSources[partCount] = none
    let isCopied = if case .copy = wish.transform { true } else { edited?.isWholePart ?? false }
    guard isCopied, wish.placement?.rowOrder == nil, !destination.compresses,
      source.count == partCount
    else { return none }
    let statesChecksums = format.container.features.contains(.provenance)
    let sources = source.indices.map { part -> StoredLocation? in
      guard part != edited?.field.part, source[part].rows.isContiguous,
        let location = model.location(of: index, part: part)
      else { return nil }
      // From pleat file to pleat file, stated checksums stay valid. Otherwise, if either side has
      // checksums, the bytes must be read to compute or compare them.
      return statesChecksums == (location.checksum != nil) ? location : nil
    }
    return sources.allSatisfy { $0 == nil } ? none : sources
  }

  /// Appends the parts to the stored tensors, or finds the stack that a matrix belongs to.
  ///
  /// Throws `unsupported` for a matrix that differs from others of the stack.
  private mutating func allocate(
    _ parts: [StoredTensor], for wish: TensorWish
  ) throws(ModelError) -> TensorJob.Place {
    byteCount += parts.reduce(0) { $0 + $1.byteCount }
    var place = TensorJob.Place(storedIndices: [])
    if case .omit = wish.transform { return place }
    let targets = wish.storedTargets
    if targets.count > 1 {
      try checkDivides(parts, wish)
      place.pieceCount = targets.count
      place.matrixCount = wish.target.shape.dimensions.dropLast(2).reduce(1, *)
    }
    guard let stack = wish.placement?.stack else {
      self.targets += targets
      let parts = targets.count > 1 ? targets.flatMap { format.codec.parts(of: $0) } : parts
      place.storedIndices = append(parts)
      return place
    }
    // The matrices of a stack share its stored tensors. The first matrix appends them.
    place.stackIndex = stack.index
    let name = ExactName(wish.target.name)
    if let known = stacks[name] {
      try Self.check(wish, fits: known.matrix)
      place.storedIndices = known.storedIndices
    } else {
      self.targets += targets
      place.storedIndices = append(targets.flatMap { format.codec.parts(of: $0) })
      stacks[name] = (place.storedIndices, wish.target)
    }
    return place
  }

  /// Throws `unsupported` if rows cannot be divided among tensors, because parts do not hold them
  /// one after the other.
  private func checkDivides(_ parts: [StoredTensor], _ wish: TensorWish) throws(ModelError) {
    guard !parts.allSatisfy({ $0.rows.isContiguous && $0.rows.rowsPerStep == 1 }) else { return }
    throw ModelError(
      .unsupported, "Pleat does not divide a stack of matrices for this format",
      tensor: wish.source.name, expected: "matrices that are stored row by row",
      found: format.name,
      hint: "convert the model to a safetensors folder first, then that to \(format.name)")
  }

  private static func check(_ wish: TensorWish, fits matrix: TensorInfo) throws(ModelError) {
    guard wish.target != matrix else { return }
    throw ModelError(
      .unsupported, "the matrices of a stack must have the same shape and encoding",
      tensor: wish.source.name, expected: "\(matrix.shape) in \(matrix.encoding)",
      found: "\(wish.target.shape) in \(wish.target.encoding)",
      hint: "a rule must match all experts of a layer, as '*.experts.*.up_proj=8' does")
  }

  /// Appends stored tensors, and returns their indices.
  private mutating func append(_ parts: [StoredTensor]) -> [Int] {
    if parts.count > mostParts {
      mostParts = parts.count
      stored.reserveCapacity(model.catalog.tensors.count * mostParts)
    }
    for var part in parts {
      // Layers repeat, so tensors of the same form share its memory.
      if !recentParts.contains(where: { part.share($0) }) {
        recentParts = [part] + recentParts.prefix(Self.recentPartCount - 1)
      }
      stored.append(part)
    }
    return Array(stored.count - parts.count..<stored.count)
  }
}
