internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Writes the files that a `GGUFLayout` has planned.
final class GGUFWriter: TensorSink {
  private let layout: GGUFLayout
  private let staging: Staging
  private let files: [OutputFile]

  init(_ layout: GGUFLayout, replacing: Bool) throws(ModelError) {
    self.layout = layout
    staging = try Staging(
      layout.options.path, isFolder: false, names: layout.fileNames, replacing: replacing)
    var files: [OutputFile] = []
    for plan in layout.files {
      let file = try staging.create(plan.name)
      try file.reserve(plan.byteCount)
      try file.write(plan.header, at: 0)
      // The last byte, which may be padding that nothing else writes.
      if plan.byteCount > plan.header.count { try file.write([0], at: plan.byteCount - 1) }
      files.append(file)
    }
    self.files = files
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    for part in block {
      let place = layout.places[part.stored]
      try files[place.file].write(part, at: place.offset)
    }
  }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {}

  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize {
    try staging.synchronize()
    return WrittenSize(byteCount: layout.byteCount, tensorByteCount: layout.tensorByteCount)
  }

  var sealedPath: FilePath { staging.path(of: layout.files[0].name) }

  // A split set is opened by its first file.
  func publish() throws(ModelError) { try staging.publish(guards: [layout.files[0].name]) }
}
