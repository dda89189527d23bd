package import Formats
package import Kernels
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
  private let format: Format
  private let nameEnding: String?  // of quantized weights; nil for any

  /// The jobs so far.
  package private(set) var jobs: [TensorJob] = []
  /// The stored tensors of the output so far.
  package private(set) var stored: StoredTensors = []
  /// The checksums of those whose bytes are copied from a file that states them.
  package private(set) var checksums: [(stored: Int, checksum: CRC32C)] = []
  /// The weights of the output so far: a stack is one, and so is each tensor of a divided one.
  package private(set) var targets: [TensorInfo] = []
  /// The total length of the targets so far, in bytes.
  package private(set) var byteCount = 0

  // The index in `stored` of each stack, and the form of its matrices.
  private var stacks: [ExactName: (storedIndices: StoredIndices, matrix: TensorInfo)] = [:]
  private var mostParts = 0
  private var families = RecentValues<JobFamily>()
  private var recentLayouts = RecentValues<Layouts>()
  private var recentParts: [StoredTensor] = []
  // Arrays of nil by the number of parts: jobs that copy nothing share their memory.
  private var noSources: [Int: [StoredLocation?]] = [:]

  /// At least the number of different parts in a layer.
  private static let recentPartCount = 48

  /// Creates a resolver for the output at a destination.
  package init(_ model: Model, _ destination: Destination, permitsRounding: Bool) {
    self.model = model
    self.destination = destination
    format = destination.format
    nameEnding = format.codec.groupedNameEnding
    self.permitsRounding = permitsRounding
    scales = ScaleTensors(of: model)
    jobs.reserveCapacity(model.catalog.tensors.count)
    targets.reserveCapacity(model.catalog.tensors.count)
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
    let placement = translation.map { $0.placements[jobs.count] }
    let index = wish.sourceIndex ?? jobs.count
    let ending = nameEnding
    if let family = families.first(where: { $0.fits(wish, placement, ending: ending) }),
      model.storesAlike(index, family.sourceIndex),
      try append(wish, at: index, placement, like: family)
    {
      return
    }
    var resolved = wish
    if let translation, let placement {
      resolved = try wish.translated(placement, for: translation.runtime)
    }
    let (kind, parts) = try resolve(resolved, at: index)
    try append(resolved, at: index, kind, parts)
    families.insert(
      JobFamily(of: wish, at: index, placement, named: resolved.target.name, kind, parts))
  }

  /// The kind of the job of a translated wish, and the stored tensors of its target.
  ///
  /// Throws `unsupported` for a tensor that the format cannot store.
  private mutating func resolve(
    _ wish: TensorWish, at index: Int
  ) throws(ModelError) -> (Shared<TensorJob.Kind>, [StoredTensor]) {
    var wish = wish
    let admission = try admit(wish)
    var parts: [StoredTensor] = []
    if case .omit = wish.transform {} else { parts = format.codec.parts(of: wish.target) }
    let source = model.parts(of: index)
    wish.transform = repacking(wish, source, parts)
    let layouts = layouts(wish, source, parts)
    for part in parts.indices {
      let block = layouts.target[part].byteCount(of: 0..<layouts.source.unitsPerBlock)
      parts[part].blockByteCount = max(1, block)
    }
    let kind = TensorJob.Kind(
      source: wish.source.form, target: wish.target.form, reason: wish.reason,
      transform: wish.transform, admission: admission, allowsNonFinite: wish.isKeptByRule,
      partition: layouts.source, targetLayouts: layouts.target,
      rowOrder: wish.placement?.rowOrder, editedBiases: editedBiases(wish),
      division: try division(of: wish, parts))
    share(&parts)
    return (Shared(kind), parts)
  }

  /// The jobs and the weights of the output, which the resolver forgets.
  ///
  /// Their new owner can change them without a copy.
  mutating func take() -> (jobs: [TensorJob], targets: [TensorInfo]) {
    let taken = (jobs, targets)
    (jobs, targets) = ([], [])
    return taken
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
    recentLayouts.insert(layouts)
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

  /// How the rows of a target are divided among several tensors.
  ///
  /// Throws `unsupported` if they cannot be, because parts do not hold them one after the other.
  private func division(
    of wish: TensorWish, _ parts: [StoredTensor]
  ) throws(ModelError) -> TensorJob.Division {
    guard !wish.transform.isOmission, let count = wish.placement?.names.count, count > 1 else {
      return TensorJob.Division()
    }
    guard parts.allSatisfy({ $0.rows.isContiguous && $0.rows.rowsPerStep == 1 }) else {
      throw ModelError(
        .unsupported, "Pleat does not divide a stack of matrices for this format",
        tensor: wish.source.name, expected: "matrices that are stored row by row",
        found: format.name,
        hint: "convert the model to a safetensors folder first, then that to \(format.name)")
    }
    return TensorJob.Division(
      pieceCount: count, matrixCount: wish.target.shape.dimensions.dropLast(2).reduce(1, *))
  }

  /// For each part of the target, the location in the source that it is copied from.
  ///
  /// nil for a part that a worker must read or transform.
  private mutating func copySources(
    _ kind: TensorJob.Kind, at index: Int, partCount: Int
  ) -> [StoredLocation?] {
    let none = noSources[partCount] ?? Array(repeating: nil, count: partCount)
    if noSources[partCount] == nil { noSources[partCount] = none }
    let edited = kind.editedBiases
    let isCopied = if case .copy = kind.transform { true } else { edited?.isWholePart ?? false }
    guard isCopied, kind.rowOrder == nil, !destination.compresses else { return none }
    let source = model.parts(of: index)
    guard source.count == partCount else { return none }
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

  /// Appends the job of a translated wish, and the parts to the stored tensors.
  ///
  /// The matrices of a stack share its stored tensors, which the first matrix appends. Throws
  /// `unsupported` for a matrix that differs from others of the stack.
  private mutating func append(
    _ wish: TensorWish, at index: Int, _ kind: Shared<TensorJob.Kind>, _ parts: [StoredTensor]
  ) throws(ModelError) {
    let sources = copySources(kind.value, at: index, partCount: parts.count)
    var place = TensorJob.Place(storedIndices: [])
    let target = wish.target
    let stack = wish.placement?.stack
    if kind.value.transform.isOmission {
      // It is stored nowhere.
    } else if let stack, let known = stacks[ExactName(target.name)] {
      try Self.check(target, of: wish, fits: known.matrix)
      place = TensorJob.Place(storedIndices: known.storedIndices, stackIndex: stack.index)
    } else {
      let targets = wish.storedTargets
      self.targets += targets
      if stack == nil, targets.count == 1 {
        place.storedIndices = append(parts, of: target.name, copying: sources)
      } else {
        let first = stored.count
        for target in targets {
          var parts = format.codec.parts(of: target)
          share(&parts)
          _ = append(parts, of: target.name)
        }
        place.storedIndices = StoredIndices(first..<stored.count)
      }
      if let stack {
        place.stackIndex = stack.index
        stacks[ExactName(target.name)] = (place.storedIndices, target)
      }
    }
    byteCount += parts.reduce(0) { $0 + $1.byteCount }
    jobs.append(TensorJob(of: wish, at: index, named: target.name, kind, place, copying: sources))
  }

  /// Appends the job of a tensor that belongs to a family, unless it is the first of a stack.
  ///
  /// - Returns: Whether the job was appended.
  /// - Throws: `unsupported` for a matrix that differs from others of the stack.
  private mutating func append(
    _ wish: TensorWish, at index: Int, _ placement: TensorPlacement??, like family: JobFamily
  ) throws(ModelError) -> Bool {
    let kind = family.kind
    var place = TensorJob.Place(storedIndices: [])
    let placement = placement ?? nil
    let target = TensorInfo(name: placement?.name ?? wish.sourceName, kind.value.target)
    let sources = copySources(kind.value, at: index, partCount: family.parts.count)
    if kind.value.transform.isOmission {
      // It is stored nowhere.
    } else if let stack = placement?.stack {
      guard let known = stacks[ExactName(target.name)] else { return false }
      try Self.check(target, of: wish, fits: known.matrix)
      place = TensorJob.Place(storedIndices: known.storedIndices, stackIndex: stack.index)
    } else {
      targets.append(target)
      place.storedIndices = append(family.parts, of: target.name, copying: sources)
    }
    byteCount += family.byteCount
    jobs.append(TensorJob(of: wish, at: index, named: target.name, kind, place, copying: sources))
    return true
  }

  /// Throws `unsupported` unless a target is like the first matrix of its stack.
  private static func check(
    _ target: TensorInfo, of wish: TensorWish, fits matrix: TensorInfo
  ) throws(ModelError) {
    guard target != matrix else { return }
    throw ModelError(
      .unsupported, "the matrices of a stack must have the same shape and encoding",
      tensor: wish.source.name, expected: "\(matrix.shape) in \(matrix.encoding)",
      found: "\(target.shape) in \(target.encoding)",
      hint: "a rule must match all experts of a layer, as '*.experts.*.up_proj=8' does")
  }

  /// Lets parts share the memory of others of the same form: layers repeat.
  private mutating func share(_ parts: inout [StoredTensor]) {
    for index in parts.indices {
      guard !recentParts.contains(where: { parts[index].share($0) }) else { continue }
      recentParts = [parts[index]] + recentParts.prefix(Self.recentPartCount - 1)
    }
  }

  /// Appends the stored tensors of a weight of the output, with the checksums of their sources, and
  /// returns their indices.
  private mutating func append(
    _ parts: [StoredTensor], of name: String, copying sources: [StoredLocation?] = []
  ) -> StoredIndices {
    if parts.count > mostParts {
      mostParts = parts.count
      let count = model.catalog.tensors.count
      stored.reserveCapacity(weights: count, tensors: count * mostParts)
    }
    let first = stored.count
    stored.append(parts, of: name)
    for (part, source) in sources.enumerated() {
      if let checksum = source?.checksum { checksums.append((first + part, checksum)) }
    }
    return StoredIndices(first..<stored.count)
  }
}
