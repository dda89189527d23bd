package import SystemPackage
package import TensorModel

/// The folder in which several processes, on one or several machines, write the parts of an output.
///
/// It is called `.name.parts` and lies beside the result `name`. `formats/parts.md` describes it.
package struct PartFolder: Sendable {
  /// The path of the result: a file, or a folder of files.
  package let destination: FilePath
  /// The path of the folder.
  package let path: FilePath

  /// What the parts in a folder belong to.
  package struct Statement: Sendable, Hashable {
    /// Identifies the output: equal only for runs that write the same bytes.
    package var key: String
    /// The number of parts.
    package var count: Int
    /// The working folder of the part that came first, which relative paths begin at.
    package var folder: String
    /// The arguments of that part, without its number.
    package var arguments: [String]

    package init(key: String, count: Int, folder: String, arguments: [String]) {
      self.key = key
      self.count = count
      self.folder = folder
      self.arguments = arguments
    }
  }

  private static let schema = "pleat.parts.1"

  /// The folder of a result; nothing is created.
  package init(for destination: FilePath) {
    self.destination = destination
    path = destination.sibling(".\(destination.lastComponent?.string ?? "output").parts")
  }

  /// The folder of the files that the parts fill.
  package var output: FilePath { path.appending("output") }

  private var statementPath: FilePath { path.appending("plan.json") }
  private var sealPath: FilePath { path.appending("sealed") }

  /// What the parts belong to; nil if no part was begun.
  ///
  /// Throws `malformed` for a file that is something else, and `io`.
  package func statement() throws(ModelError) -> Statement? {
    guard let file = try InputFile(existing: statementPath) else { return nil }
    guard file.byteCount <= 1 << 24 else { throw damaged }
    let bytes = try file.bytes(at: 0, count: file.byteCount)
    let value = try JSONParser.parse(bytes, file: statementPath.string)
    guard value["schema"]?.string == Self.schema, let key = value["plan"]?.string,
      let count = value["parts"]?.int, count > 0, let folder = value["folder"]?.string,
      case let words = value["arguments"]?.array, let arguments = words?.compactMap(\.string),
      arguments.count == words?.count
    else { throw damaged }
    return Statement(key: key, count: count, folder: folder, arguments: arguments)
  }

  private var damaged: ModelError {
    ModelError(
      .malformed, "the file does not describe parts of an output", file: statementPath.string,
      expected: Self.schema, hint: "remove \(path.string), and run all parts again")
  }

  /// Creates the folder, or joins the parts that are there.
  ///
  /// Throws `usage` if they are parts of another output, and `io`.
  package func prepare(_ statement: Statement) throws(ModelError) {
    removeOld()
    try FileSystem.makeFolder(path)
    try FileSystem.makeFolder(output)
    if try self.statement() == nil { try state(statement) }
    try check(statement)
  }

  /// Writes the statement, unless another part has just done so.
  private func state(_ statement: Statement) throws(ModelError) {
    let value: JSONValue = [
      "schema": .string(Self.schema), "plan": .string(statement.key),
      "parts": JSONValue(statement.count), "folder": .string(statement.folder),
      "arguments": .array(statement.arguments.map { .string($0) }),
    ]
    let temporary = path.appending("plan.\(Self.token)")
    let file = try OutputFile(creating: temporary)
    try file.write(Array(JSONWriter.text(value, indentation: 2).utf8), at: 0)
    try file.synchronize()
    // A link never replaces a file, on NFS too. Where there are no links, the last one counts.
    if !FileSystem.link(temporary, to: statementPath), try self.statement() == nil {
      try FileSystem.rename(temporary, to: statementPath)
    } else {
      try FileSystem.removeFile(temporary)
    }
    try FileSystem.synchronizeFolder(path)
    try FileSystem.synchronizeFolder(destination.parentFolder)
  }

  /// Throws `usage` if the parts in the folder are those of another output.
  package func check(_ statement: Statement) throws(ModelError) {
    let found = try self.statement()
    guard found?.key == statement.key, found?.count == statement.count else {
      let same = found?.key == statement.key
      throw ModelError(
        .usage,
        same
          ? "the output is being written in another number of parts"
          : "parts of another plan, of changed inputs or by another version are in the same place",
        file: path.string, expected: same ? "\(statement.count) parts" : "plan \(statement.key)",
        found: same ? found.map { "\($0.count) parts" } : found.map { "plan \($0.key)" },
        hint: "remove \(path.string) to begin anew, or write to another path")
    }
  }

  /// A text that no other process has, on any machine.
  private static var token: String {
    var generator = SystemRandomNumberGenerator()
    return String(generator.next(), radix: 16)
  }

  /// Opens a file of the output, which other parts may write as well.
  ///
  /// Throws `io`; `malformed` if it has another length.
  package func open(_ name: String, byteCount: Int) throws(ModelError) -> OutputFile {
    try OutputFile(sharing: output.appending(name), byteCount: byteCount)
  }

  /// Notes that the files of the output are complete, before they get their names.
  ///
  /// Throws `io`.
  package func seal() throws(ModelError) {
    guard !isSealed else { return }
    try OutputFile(creating: sealPath).synchronize()
    try FileSystem.synchronizeFolder(path)
  }

  /// Whether the files of the output were complete once, so that some may have their names already.
  package var isSealed: Bool { FileSystem.kind(of: sealPath) != nil }

  /// Moves files back that a killed run has given their final names.
  ///
  /// Throws `io`.
  package func takeBack(_ names: [String]) throws(ModelError) {
    try FileSystem.makeFolder(output)
    for name in names where FileSystem.kind(of: output.appending(name)) == nil {
      let path = destination.sibling(name)
      guard FileSystem.kind(of: path) == .file else { continue }
      try FileSystem.rename(path, to: output.appending(name))
    }
  }

  /// Removes the folder, once the output has its name.
  ///
  /// It is renamed first: a killed run leaves either all of it, or nothing that is taken for parts.
  package func remove() {
    removeOld()
    try? FileSystem.rename(path, to: oldPath)
    removeOld()
  }

  /// Removes what a run left that was killed while it removed the folder.
  package func removeOld() { FileSystem.removeFolder(oldPath) }

  private var oldPath: FilePath {
    path.sibling("\(path.lastComponent?.string ?? "").old")
  }
}

extension PartFolder {
  /// The journal of a part that this process writes.
  package final class Journal: Sendable {
    private let path: FilePath
    private let title: String
    private let token: String
    private let journal: StagingJournal

    /// Takes over a part: its journal gets this run's name, and some lines that are true.
    ///
    /// A run that finds another name in the journal has lost the part. So a part has one owner
    /// even where the file system has no locks. Throws `usage` if another run has the lock; `io`.
    package init(
      of part: Int, in folder: PartFolder, title: String, lines: [String]
    ) throws(ModelError) {
      path = folder.journalPath(part)
      self.title = title
      token = PartFolder.token
      if let file = try? OutputFile(finished: path), !file.lock() {
        throw ModelError(
          .usage, "another run is writing this part", file: folder.destination.string,
          found: "part \(part)", hint: "wait for it")
      }
      let temporary = folder.path.appending("\(part).\(token)")
      journal = try StagingJournal(at: temporary, title: title, lines: ["run \(token)"] + lines)
      _ = journal.lock()
      try FileSystem.rename(temporary, to: path)
      try FileSystem.synchronizeFolder(folder.path)
      try check()
    }

    /// Adds lines, and waits until they are on disk.
    ///
    /// Throws `usage` if another run has taken over the part; `io`.
    package func add(_ lines: [String]) throws(ModelError) {
      try journal.add(lines)
      try check()
    }

    private func check() throws(ModelError) {
      let first = try StagingJournal.lines(at: path, title: title, limit: 1 << 10)?.first
      guard first != "run \(token)" else { return }
      throw ModelError(
        .usage, "another run has taken over this part", file: path.string,
        hint: "it writes the same bytes; wait for it")
    }
  }

  /// The lines of the journal of a part; nil if there is none, or if it has another title.
  ///
  /// Throws `io`.
  package func journal(of part: Int, title: String) throws(ModelError) -> [String]? {
    let lines = try StagingJournal.lines(at: journalPath(part), title: title)
    return lines.map { lines in lines.filter { !$0.hasPrefix("run ") } }
  }

  private func journalPath(_ part: Int) -> FilePath { path.appending("part-\(part)") }
}
