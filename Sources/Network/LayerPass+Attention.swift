internal import Architectures
internal import Kernels
internal import TensorModel

extension LayerPass {
  /// The keys and values of a layer, which may be the same matrix.
  typealias Cache = (keys: FloatMatrix, values: FloatMatrix)

  /// What attention adds to each token.
  ///
  /// Throws what reading weights throws.
  func attention(
    _ input: FloatMatrix, _ weights: AttentionWeights, _ cache: Cache?
  ) throws(ModelError) -> FloatMatrix {
    let parts = try products(
      input, [weights.queries, weights.keys, weights.values].compactMap(\.self))
    let (queries, ownGates) = shape.gatesQueries ? divided(parts[0]) : (parts[0], nil)
    if let limit = shape.attentionClamp { for part in parts { part.clamp(to: limit) } }
    let own = parts.count < 2 ? nil : (parts[1], parts.count > 2 ? parts[2] : parts[1].copy())
    let (heads, places) = (HeadPlacement(shape: shape, place: place, rotary: rotary), batch.places)
    workers.eachRow(of: places.count) { index in
      let (row, position) = places[index]
      heads.place(queries, row, position, weights.queryNorm)
      let factor = heads.queryFactor(position)
      if factor != 1 { queries.scale(row: row, by: factor) }
      guard let (keys, values) = own else { return }
      heads.place(keys, row, position, weights.keyNorm)
      if heads.shape.kind.normsValues { heads.norm(values, row, by: heads.shape.plainNorm) }
      guard let cache else { return }
      cache.keys.setRow(position, to: keys, row: row)
      cache.values.setRow(position, to: values, row: row)
    }
    if let own { shared.keep(own, ofLayer: number) }
    let known = cache ?? own ?? shared.cache(ofLayer: place.source ?? number)
    let mixed = try attended(queries, known, cache, sinks: weights.sinks)
    let made = try weights.gate.map { gate throws(ModelError) in try products(input, [gate])[0] }
    guard let gates = made ?? ownGates else { return try products(mixed, [weights.output])[0] }
    return try products(gated(mixed, by: gates), [weights.output])[0]
  }

  /// What heads take from values times a function of gates: one for each head, or for each number.
  private func gated(_ mixed: FloatMatrix, by gates: FloatMatrix) -> FloatMatrix {
    let (columns, size) = (0..<gates.columnCount, mixed.columnCount / gates.columnCount)
    let function = shape.kind.gateFunction
    workers.eachRow(of: gates.rowCount) { row in
      gates.activate(row: row, columns: columns, function, times: size == 1 ? mixed : nil)
      guard size > 1 else { return }
      for (index, gate) in gates.row(row).enumerated() {
        mixed.scale(row: row, columns: index * size..<(index + 1) * size, by: gate)
      }
    }
    return size == 1 ? gates : mixed
  }

  /// The queries of all heads, and the gates, of which each head has as many.
  private func divided(_ parts: FloatMatrix) -> (queries: FloatMatrix, gates: FloatMatrix?) {
    let (size, count) = (place.heads.keySize, place.heads.count)
    let result = (0..<2).map { _ in
      FloatMatrix(rowCount: parts.rowCount, columnCount: count * size)
    }
    workers.eachRow(of: parts.rowCount) { row in
      for head in 0..<count {
        for (index, matrix) in result.enumerated() {
          let start = (2 * head + index) * size
          matrix.setRow(
            row, column: head * size, to: parts, row: row, columns: start..<start + size)
        }
      }
    }
    return (result[0], result[1])
  }

  /// What queries take from values: rows × (heads · numbers of a value).
  private func attended(
    _ queries: FloatMatrix, _ known: Cache, _ cache: Cache?, sinks: [Float]? = nil
  ) throws(ModelError) -> FloatMatrix {
    let runs = batch.texts.map { text in
      Attention.Run(
        queries: text.rows, firstPosition: text.firstPosition,
        firstKey: cache == nil ? text.rows.lowerBound : 0)
    }
    let attention = Attention(
      shape: shape, workers: workers, place: place, sinks: sinks)
    return try attention.result(
      of: queries, keys: known.keys, values: known.values, runs: runs)
  }

  // MARK: - Latent attention

  /// What latent attention adds to each token.
  ///
  /// All heads see the same keys: the compressed vector of a token and what is rotated. Its values
  /// are the compressed vectors alone. Throws what reading weights throws.
  func attention(
    _ input: FloatMatrix, _ weights: LatentWeights, _ cache: Cache?
  ) throws(ModelError) -> FloatMatrix {
    guard let sizes = shape.latent else { return input }
    let (queries, keys) = try projected(input, weights)
    let (places, keySize) = (batch.places, place.heads.keySize)
    workers.eachRow(of: places.count) { [rotary] index in
      let (row, position) = places[index]
      rotary?.rotate(
        queries, row: row, position: position, headSize: sizes.headSize, from: sizes.plainSize)
      if let norm = weights.compressedNorm {
        keys.norm(row: row, columns: 0..<sizes.keyValueRank, by: norm, into: keys)
      }
      rotary?.rotate(
        keys, row: row, position: position, headSize: keySize, from: sizes.keyValueRank)
      cache?.keys.setRow(position, to: keys, row: row)
    }
    let whole = try compressed(queries, weights, sizes)
    let mixed = try attended(whole, cache ?? (keys, keys), cache)
    let values = try products(
      of: mixed, each: sizes.keyValueRank, width: sizes.keyValueRank, with: weights.values)
    let result = FloatMatrix(
      rowCount: input.rowCount, columnCount: place.heads.count * sizes.valueSize)
    for (head, values) in values.enumerated() {
      for row in 0..<values.rowCount {
        result.setRow(row, column: head * sizes.valueSize, to: values, row: row)
      }
    }
    return try products(result, [weights.output])[0]
  }

  /// The queries of all heads, and the compressed vectors with the keys that are rotated.
  private func projected(
    _ input: FloatMatrix, _ weights: LatentWeights
  ) throws(ModelError) -> (queries: FloatMatrix, keys: FloatMatrix) {
    guard let queryInput = weights.queryInput else {
      let parts = try products(input, [weights.queries, weights.compressed])
      return (parts[0], parts[1])
    }
    let parts = try products(input, [queryInput, weights.compressed])
    if let norm = weights.queryNorm {
      let queries = parts[0]
      workers.eachRow(of: input.rowCount) { row in
        queries.norm(row: row, columns: 0..<queries.columnCount, by: norm, into: queries)
      }
    }
    return (try products(parts[0], [weights.queries])[0], parts[1])
  }

  /// Queries for compressed vectors: those of each head that are not rotated times the matrix that
  /// makes its keys, then those that are rotated.
  private func compressed(
    _ queries: FloatMatrix, _ weights: LatentWeights, _ sizes: LatentAttentionSizes
  ) throws(ModelError) -> FloatMatrix {
    let parts = try products(
      of: queries, each: sizes.headSize, width: sizes.plainSize, with: weights.keys)
    let result = FloatMatrix(
      rowCount: queries.rowCount, columnCount: place.heads.count * place.heads.keySize)
    for (head, part) in parts.enumerated() {
      let (from, to) = (head * sizes.headSize, head * place.heads.keySize)
      for row in 0..<part.rowCount {
        result.setRow(row, column: to, to: part, row: row)
        result.setRow(
          row, column: to + sizes.keyValueRank, to: queries, row: row,
          columns: from + sizes.plainSize..<from + sizes.headSize)
      }
    }
    return result
  }

  /// The products of the first `width` of `size` numbers of each head with its own matrix.
  private func products(
    of heads: FloatMatrix, each size: Int, width: Int, with linears: [Linear]
  ) throws(ModelError) -> [FloatMatrix] {
    let parts = linears.indices.map { head in
      let part = FloatMatrix(rowCount: heads.rowCount, columnCount: width)
      for row in 0..<heads.rowCount {
        part.setRow(row, to: heads, row: row, columns: head * size..<head * size + width)
      }
      return part
    }
    for (head, part) in parts.enumerated() {
      observer?.observe(part, of: [linears[head].name], matrix: (head, linears.count))
    }
    return try workers.products(of: parts, with: linears, keeping: kept)
  }
}

/// What is done to the heads of a token before attention.
private struct HeadPlacement: Sendable {
  let shape: DecoderShape
  let place: DecoderShape.Layer
  let rotary: RotaryTable?

  /// The factor of queries at a position.
  func queryFactor(_ position: Int) -> Float {
    rotary?.queryFactor(position) ?? place.growth?.factor(position) ?? 1
  }

  /// Norms and rotates the heads of a row.
  func place(_ heads: FloatMatrix, _ row: Int, _ position: Int, _ norm: RowNorm?) {
    let isAfter = shape.kind.normsAfterRotation
    let norm = norm ?? (rotary != nil && shape.normsRotatedHeads ? shape.plainNorm : nil)
    if !isAfter { self.norm(heads, row, by: norm) }
    rotary?.rotate(heads, row: row, position: position, headSize: place.heads.keySize)
    if isAfter { self.norm(heads, row, by: norm) }
  }

  /// Norms each head of a row, or all at once.
  func norm(_ heads: FloatMatrix, _ row: Int, by norm: RowNorm?) {
    guard let norm else { return }
    let length = shape.normsAllHeads ? heads.columnCount : place.heads.keySize
    for start in stride(from: 0, to: heads.columnCount, by: length) {
      heads.norm(row: row, columns: start..<start + length, by: norm, into: heads)
    }
  }
}
