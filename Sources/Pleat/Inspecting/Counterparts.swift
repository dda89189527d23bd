internal import Architectures
internal import Bytes
internal import Formats
internal import Quantization
internal import TensorModel
internal import Weights

/// Finds the tensors of a reference that a tensor of a model must be compared with.
///
/// They have the same name. If the model has the names of llama.cpp or mlx-lm and the reference is
/// a checkpoint with others, the names of the reference are translated.
struct Counterparts {
  /// A tensor of the reference, or the part of it that a tensor of the model corresponds to.
  struct Counterpart {
    /// The index in the reference's catalog.
    var index: Int
    /// The translation of the tensor; nil without a translation.
    var placement: TensorPlacement?
    /// The index of the part, if the tensor is divided among several of the model; otherwise 0.
    var piece = 0
    /// The index of the changes by adapters, if it is not that of the tensor.
    var changeIndex: Int?
  }

  /// The runtime whose names the reference is translated to; nil without a translation.
  let runtime: Runtime?
  private var byName: [ExactName: [Counterpart]] = [:]
  private var order: [ExactName] = []
  private let additions: Set<ExactName>
  /// Numbers that a side has in its metadata, and that differ from the tensors of the other.
  private(set) var mismatches: [ModelError] = []
  /// What was compared because embeddings serve as a head; empty if no side ties them.
  private(set) var notes: [String] = []

  /// Finds the counterparts of all tensors of a model.
  ///
  /// Throws what translating the reference throws.
  init(of model: Model, in reference: Model) throws(ModelError) {
    let translation = try Self.translation(of: reference, to: model)
    runtime = translation?.runtime
    additions = Set((translation?.additions ?? []).map { ExactName($0.stored.name) })
    for (index, tensor) in reference.catalog.tensors.enumerated() {
      guard let translation else {
        add(Counterpart(index: index), named: tensor.name)
        continue
      }
      guard let placement = translation.placements[index] else { continue }
      for (piece, name) in placement.names.enumerated() {
        add(Counterpart(index: index, placement: placement, piece: piece), named: name)
      }
    }
    try followTies(of: model, in: reference, translation)
    guard let translation else { return }
    switch translation.runtime {
    case .llamaCpp: compare(model.catalog.metadata, with: translation, of: model)
    // What is added are tensors of the model that the reference has in its metadata.
    case .transformers where !additions.isEmpty:
      compare(reference.catalog.metadata, with: try model.translation(), of: reference)
    case .transformers, .mlxLM: break
    }
  }

  /// Compares metadata of a llama.cpp model with what tensors of a checkpoint become.
  private mutating func compare(
    _ metadata: Metadata, with translation: some Translation, of model: Model
  ) {
    for entry in translation.tensorMetadata.entries where metadata[entry.key] != entry.value {
      mismatches.append(
        ModelError(
          .mismatch, "the metadata has other numbers than the tensors of the checkpoint",
          file: model.path, tensor: entry.key))
    }
  }

  /// Adds what a head has to be compared with, if the embeddings of a side serve as its head.
  private mutating func followTies(
    of model: Model, in reference: Model, _ translation: (any Translation)?
  ) throws(ModelError) {
    guard let own = try EmbeddingTie(model), let other = try EmbeddingTie(reference) else { return }
    let table = model.catalog.tensors[own.table].name
    let otherHead = other.head.map {
      Counterpart(index: $0, placement: translation?.placements[$0])
    }
    let tiedHead = Counterpart(index: other.table, changeIndex: reference.unstoredHeadIndex)
    switch (own.head, otherHead) {
    case (let head?, nil):
      let name = model.catalog.tensors[head].name
      byName[ExactName(name)] = nil
      add(tiedHead, named: name)
      notes.append("the embeddings of the reference are its head")
    case (nil, let head?):
      let name = ExactName(
        head.placement?.name ?? reference.catalog.tensors[head.index].name)
      byName[name] = nil
      add(head, named: table)
      notes.append("the embeddings of the model are its head")
    case (nil, nil): add(tiedHead, named: table)
    case (.some, .some): break
    }
  }

  private mutating func add(_ counterpart: Counterpart, named text: String) {
    let name = ExactName(text)
    if byName[name] == nil { order.append(name) }
    byName[name, default: []].append(counterpart)
  }

  /// The translation of a reference to the names of a model; nil if they have the same names.
  ///
  /// A model of mlx-lm has either the names of mlx-lm or those of the checkpoint.
  private static func translation(
    of reference: Model, to model: Model
  ) throws(ModelError) -> (any Translation)? {
    if reference.needsTranslation(to: model.format) { return try reference.translation() }
    let tensors = reference.catalog.tensors
    let own = Set(tensors.map { ExactName($0.name) })
    let others = model.catalog.tensors.map { ExactName($0.name) }.filter { !own.contains($0) }
    if reference.isGGUF, !model.isGGUF, !others.isEmpty {
      let config = try model.configuration()
      let checkpoint: CheckpointTranslation
      do throws(ModelError) {
        checkpoint = try reference.checkpointTranslation(of: tensors)
      } catch {
        // Its metadata may not tell what the config of the model does.
        guard let config else { throw error }
        checkpoint = try reference.checkpointTranslation(of: tensors, config: config)
      }
      guard model.namingFormat.usesMLXNames, let config else { return checkpoint }
      return try reference.mlxTranslation(after: checkpoint, of: tensors, config: config)
    }
    let isMLX = model.namingFormat.usesMLXNames
    guard !others.isEmpty || isMLX,
      let translation = try reference.mlxTranslation(to: .mlx, of: tensors)
    else { return nil }
    let names = Set(translation.placements.flatMap { $0?.names ?? [] }.map(ExactName.init))
    let isTranslated = others.contains(where: names.contains)
    return isTranslated || isMLX && names.isSubset(of: own) ? translation : nil
  }

  /// Removes and returns the counterparts of a tensor; nil if the name is unknown.
  ///
  /// Empty for a tensor that only the runtime has. Several for a stack of matrices that are
  /// separate tensors in the reference.
  mutating func take(_ name: String) -> [Counterpart]? {
    byName.removeValue(forKey: ExactName(name)) ?? (additions.contains(ExactName(name)) ? [] : nil)
  }

  /// The sorted names of tensors that were not taken.
  var names: [String] { order.filter { byName[$0] != nil }.map(\.text).sorted() }
}

extension Counterparts.Counterpart {
  /// The name of the comparison with a tensor of the model: with the index of a matrix of a stack.
  func name(_ tensor: TensorInfo) -> String {
    placement?.stack.map { "\(tensor.name)[\($0.index)]" } ?? tensor.name
  }

  /// The shape of the tensor in the model, from the shape `own` in the reference.
  ///
  /// A stack has one dimension more.
  func shape(of own: Shape) -> Shape {
    guard let placement else { return own }
    var extents = (placement.shape ?? own).dimensions
    if placement.names.count > 1 { extents[extents.count - 2] /= placement.names.count }
    if let stack = placement.stack { extents = [stack.count] + extents }
    return Shape(validating: extents) ?? own
  }

  /// Numbers of the reference in the row order and the form of the model.
  ///
  /// `values` are complete heads. Where a number is added, the sum is rounded to the encoding.
  func translated(_ values: [Float], columnCount: Int, _ encoding: Encoding) -> [Float] {
    guard let placement else { return values }
    var result = placement.rowOrder?.reordered(values, rowLength: columnCount) ?? values
    guard placement.addend != 0 else { return result }
    for index in result.indices { result[index] += placement.addend }
    if case .plain(let type) = encoding, let encoder = PlainEncoder(type) {
      let sums = result
      var bytes = [UInt8](repeating: 0, count: sums.count * type.bitWidth / 8)
      bytes.change(bytes.indices) { encoder.encode(sums, into: &$0) }
      RowDecoder(encoding)?.decode(bytes[...], into: &result)
    }
    return result
  }
}

/// Rows of a reference and of a model that correspond, and that are adjacent in both.
struct RowPair {
  /// The rows of the reference.
  var own: Range<Int>
  /// The first row of the model.
  var first: Int
  /// The number of rows of the model for each row of the reference.
  var scale = 1

  /// The rows of the model that correspond to some of these rows of the reference.
  func others(_ rows: Range<Int>) -> Range<Int> {
    let start = first + (rows.lowerBound - own.lowerBound) * scale
    return start..<start + rows.count * scale
  }

  /// All rows of a tensor of the reference that correspond to rows of a tensor of the model.
  static func all(
    of own: Shape, with counterpart: Counterparts.Counterpart, _ shape: Shape
  ) -> [RowPair] {
    let placement = counterpart.placement
    let count = placement?.names.count ?? 1
    guard count > 1 else {
      // A convolution may have shorter rows in the model.
      let scale = placement?.shape == nil ? 1 : own.columnCount / max(1, shape.columnCount)
      let first = (placement?.stack?.index ?? 0) * own.rowCount
      return [RowPair(own: 0..<own.rowCount, first: first, scale: scale)]
    }
    // A stack may be divided as if it were one matrix.
    let extents = (placement?.shape ?? own).dimensions
    let length = (extents.dropLast().last ?? 0) / count
    return (0..<extents.dropLast(2).reduce(1, *)).map { matrix in
      let start = (matrix * count + counterpart.piece) * length
      return RowPair(own: start..<start + length, first: matrix * length)
    }
  }
}

extension Model {
  /// A reference with tensors as they are in a model that it is compared with.
  ///
  /// Throws what `arranged(for:)` and `checkpointTranslation` throw.
  func arranged(asIn model: Model) throws(ModelError) -> Model {
    let own = Set(catalog.tensors.map { ExactName($0.name) })
    let hasOtherNames = model.catalog.tensors.contains { !own.contains(ExactName($0.name)) }
    guard isGGUF, !model.isGGUF, hasOtherNames else {
      let isMLX = hasOtherNames ? true : try model.hasAbsorbedFactors()
      let types = ScalarType.ofNumbers(in: model.catalog.tensors)
      return try arranged(
        for: isMLX ? model.namingFormat : model.format,
        numbers: types.count == 1 ? types.first : nil)
    }
    do throws(ModelError) {
      return try arrangedAsCheckpoint(config: nil, for: model.namingFormat)
    } catch {
      // Its metadata may not tell what the config of the model does.
      guard let config = try model.configuration() else { throw error }
      return try arrangedAsCheckpoint(config: config, for: model.namingFormat)
    }
  }

  /// The format whose names the tensors may have: mlx-lm's are also those of files without groups.
  fileprivate var namingFormat: Format {
    catalog.metadata["format"]?.text == Format.mlx.metadataMark ? .mlx : format
  }
}
