/* The builder of specs: every setter sets its field, and a mistake is told with the field's name. */
#include <krundl.h>

#include "check.h"

static krundl_probe *probe_of(const char *name, const char *release) {
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = library(name, release);
    krundl_probe *probe = NULL;
    CHECK(krundl_probe_new(&options, &probe, NULL) == KRUNDL_STATUS_OK);
    return probe;
}

/* That the whole spec, without blanks, has this in it. */
static void has(krundl_spec *spec, const char *part) {
    const char *json = NULL;
    CHECK(krundl_spec_json(spec, &json, NULL) == KRUNDL_STATUS_OK);
    char *plain = calloc(1, strlen(json) + 1), *end = plain;
    for (const char *c = json; *c; c++)
        if (*c != ' ' && *c != '\n')
            *end++ = *c;
    CHECK_HAS(plain, part);
    free(plain);
}

#define OK(call) CHECK((call) == KRUNDL_STATUS_OK)

static void every_setter_sets_its_field(void) {
    krundl_spec *spec = krundl_spec_new(2, 512);
    has(spec, "\"vcpus\":2,\"memory_mib\":512,\"root\":null");
    OK(krundl_spec_set_root_dir(spec, "/r", true));
    OK(krundl_spec_set_root_dax(spec, 64));
    has(spec, "\"root\":{\"dir\":\"/r\",\"disk\":null,\"read_only\":true,\"dax_mib\":64}");
    OK(krundl_spec_set_root_disk(spec, NULL, "ext4", "noatime", false));
    has(spec, "\"root\":{\"dir\":null,\"disk\":{\"device\":\"/dev/vda\",\"fstype\":\"ext4\",\"options\":\"noatime\"},"
              "\"read_only\":false");
    OK(krundl_spec_set_kernel(spec, "/k", "elf", "/i", "quiet"));
    has(spec, "\"kernel\":{\"path\":\"/k\",\"format\":\"elf\",\"initrd\":\"/i\",\"cmdline\":\"quiet\"}");
    OK(krundl_spec_set_kernel(spec, "/k", NULL, NULL, NULL));
    has(spec, "\"kernel\":{\"path\":\"/k\",\"format\":\"auto\",\"initrd\":null,\"cmdline\":null}");
    OK(krundl_spec_set_kernel_console(spec, "ttyS0"));
    OK(krundl_spec_set_firmware(spec, "/f"));
    has(spec, "\"kernel_console\":\"ttyS0\",\"firmware\":\"/f\"");
    OK(krundl_spec_set_exec(spec, "sh"));
    OK(krundl_spec_add_arg(spec, "-c"));
    OK(krundl_spec_add_arg(spec, "\xff"));
    OK(krundl_spec_set_env(spec, "A", "b"));
    OK(krundl_spec_set_workdir(spec, "/w"));
    has(spec, "\"exec\":{\"path\":\"sh\",\"args\":[\"-c\",{\"bytes\":[255]}],\"env\":{\"A\":\"b\"},\"workdir\":\"/w\"}");
    OK(krundl_spec_add_mount(spec, "/h", NULL, true));
    krundl_mount mount = {.struct_size = sizeof mount};
    mount.host = "/h2";
    mount.guest = "/g2";
    mount.tag = "t";
    mount.semantics = "simplified";
    mount.dax_mib = 4;
    OK(krundl_spec_add_mount_with(spec, &mount));
    has(spec, "\"mounts\":[{\"host\":\"/h\",\"guest\":\"/workspace\",\"tag\":null,\"read_only\":true,\"overlay\":false,"
              "\"dax_mib\":0,"
              "\"semantics\":null},{\"host\":\"/h2\",\"guest\":\"/g2\",\"tag\":\"t\",\"read_only\":false,"
              "\"overlay\":false,\"dax_mib\":4,"
              "\"semantics\":\"simplified\"}]");
    OK(krundl_spec_add_overlay_bytes(spec, "/etc/motd", (const uint8_t *)"hi", 2, 0644));
    OK(krundl_spec_add_overlay_file(spec, "/etc/hosts", "/etc/hosts", 0600));
    OK(krundl_spec_add_overlay_dir(spec, "/data", 0755));
    has(spec, "\"overlay\":{\"files\":[{\"path\":\"/etc/motd\",\"text\":\"hi\",\"from\":null,\"mode\":420},"
              "{\"path\":\"/etc/hosts\",\"text\":null,\"from\":\"/etc/hosts\",\"mode\":384}],"
              "\"dirs\":[{\"path\":\"/data\",\"mode\":493}]}");
    krundl_disk disk = {.struct_size = sizeof disk};
    disk.path = "/d";
    disk.id = "one";
    disk.format = "qcow2";
    disk.sync = "full";
    disk.read_only = disk.direct_io = true;
    OK(krundl_spec_add_disk(spec, &disk));
    has(spec, "\"disks\":[{\"path\":\"/d\",\"id\":\"one\",\"format\":\"qcow2\",\"read_only\":true,\"direct_io\":true,"
              "\"sync\":\"full\"}]");
    OK(krundl_spec_set_tsi(spec, false, true, true));
    OK(krundl_spec_add_port(spec, 8080, 80));
    has(spec, "\"tsi\":{\"inet\":false,\"unix\":true,\"ports\":[{\"host\":8080,\"guest\":80}],\"only_ports\":true}");
    const char *features[] = {"csum", "guest_tso4", NULL};
    krundl_nic nic = {.struct_size = sizeof nic};
    nic.unixgram = "/s";
    nic.mac = "02:00:00:00:00:01";
    nic.features = features;
    nic.vfkit = nic.dhcp = nic.optional = true;
    OK(krundl_spec_add_nic(spec, &nic));
    const char *dns[] = {"192.0.2.53", "fd00::53", NULL};
    krundl_nic own = {.struct_size = sizeof own};
    own.passt = own.host_loopback = true;
    own.passt_program = "/p";
    own.address = "192.0.2.7/24";
    own.gateway = "192.0.2.1";
    own.dns = dns;
    OK(krundl_spec_add_nic(spec, &own));
    OK(krundl_spec_add_forward(spec, "tcp", NULL, 2222, 22));
    OK(krundl_spec_add_forward(spec, "udp", "0.0.0.0", 0, 53));
    krundl_nic gvproxy = {.struct_size = sizeof gvproxy};
    gvproxy.gvproxy = true;
    gvproxy.gvproxy_program = "/g";
    OK(krundl_spec_add_nic(spec, &gvproxy));
    OK(krundl_spec_add_forward(spec, "tcp", NULL, 0, 80));
    has(spec, "\"nics\":[{\"passt\":null,\"gvproxy\":null,\"unixstream\":null,\"unixgram\":\"/s\",\"vfkit\":true,\"tap\":null,"
              "\"mac\":\"02:00:00:00:00:01\",\"features\":[\"csum\",\"guest_tso4\"],\"address\":null,"
              "\"gateway\":null,\"dns\":null,\"dhcp\":true,\"optional\":true},"
              "{\"passt\":{\"ports\":[{\"host\":2222,\"guest\":22,\"address\":\"127.0.0.1\",\"protocol\":\"tcp\"},"
              "{\"host\":0,\"guest\":53,\"address\":\"0.0.0.0\",\"protocol\":\"udp\"}],\"program\":\"/p\","
              "\"host_loopback\":true},\"gvproxy\":null,\"unixstream\":null,\"unixgram\":null,\"vfkit\":false,\"tap\":null,"
              "\"mac\":null,\"features\":null,\"address\":\"192.0.2.7/24\",\"gateway\":\"192.0.2.1\","
              "\"dns\":[\"192.0.2.53\",\"fd00::53\"],\"dhcp\":false,\"optional\":false},"
              "{\"passt\":null,\"gvproxy\":{\"ports\":[{\"host\":0,\"guest\":80,\"address\":\"127.0.0.1\","
              "\"protocol\":\"tcp\"}],\"program\":\"/g\"},\"unixstream\":null");
    OK(krundl_spec_add_vsock_port(spec, 7, "/v", true));
    has(spec, "\"vsock\":{\"cid\":null,\"ports\":[{\"port\":7,\"path\":\"/v\",\"listen\":true}]}");
    OK(krundl_spec_set_console_file(spec, "/c"));
    has(spec, "\"console\":{\"file\":\"/c\"}");
    OK(krundl_spec_set_console_none(spec));
    OK(krundl_spec_set_serial(spec, NULL, "/so"));
    has(spec, "\"console\":\"none\",\"serial\":{\"input\":null,\"output\":\"/so\"}");
    OK(krundl_spec_add_console_port(spec, "p", "/i", "/o", NULL));
    has(spec, "\"console_ports\":[{\"name\":\"p\",\"input\":\"/i\",\"output\":\"/o\",\"tty\":null}]");
    OK(krundl_spec_set_rlimit(spec, "NOFILE", 10, UINT64_MAX));
    has(spec, "\"rlimits\":{\"NOFILE\":{\"soft\":10,\"hard\":18446744073709551615}}");
    OK(krundl_spec_set_uid(spec, 1000));
    OK(krundl_spec_set_gid(spec, 1001));
    OK(krundl_spec_set_nested_virt(spec, true));
    OK(krundl_spec_set_split_irqchip(spec, true));
    OK(krundl_spec_add_smbios_oem_string(spec, "s"));
    has(spec, "\"uid\":1000,\"gid\":1001,\"nested_virt\":true,\"split_irqchip\":true,\"smbios_oem_strings\":[\"s\"]");
    OK(krundl_spec_set_gpu(spec, 3, 256));
    krundl_display display = {.struct_size = sizeof display};
    display.width = 800;
    display.height = 600;
    display.width_mm = 300;
    display.height_mm = 200;
    OK(krundl_spec_add_display(spec, &display));
    has(spec, "\"gpu\":{\"virgl_flags\":3,\"shm_mib\":256},\"displays\":[{\"width\":800,\"height\":600,"
              "\"refresh_rate\":null,\"dpi\":null,\"physical_size_mm\":[300,200],\"edid\":null}]");
    OK(krundl_spec_set_sound(spec, true));
    OK(krundl_spec_add_input(spec, "/dev/input/event0"));
    OK(krundl_spec_set_tee(spec, "/t"));
    OK(krundl_spec_set_log(spec, "debug", "/l"));
    has(spec, "\"sound\":true,\"inputs\":[\"/dev/input/event0\"],\"tee\":{\"config\":\"/t\"},\"log_level\":\"debug\","
              "\"log_file\":\"/l\"");

    /* And back: JSON in, the same JSON out. */
    const char *json = NULL, *again = NULL;
    OK(krundl_spec_json(spec, &json, NULL));
    krundl_spec *copy = NULL;
    OK(krundl_spec_from_json(json, &copy, NULL));
    OK(krundl_spec_json(copy, &again, NULL));
    CHECK_TEXT(again, json);
    krundl_spec_free(copy);
    krundl_spec_free(spec);
}

static void a_mistake_is_told_by_the_plan_with_its_field(void) {
    krundl_spec *spec = krundl_spec_new(1, 256);
    OK(krundl_spec_set_root_dir(spec, place("root"), false));
    OK(krundl_spec_set_exec(spec, "/bin/sh"));
    CHECK(krundl_spec_add_mount(spec, NULL, "/a", false) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK(krundl_spec_add_mount(spec, "/h", "\xff", false) == KRUNDL_STATUS_INVALID_ARGUMENT);
    krundl_mount mount = {.struct_size = sizeof mount};
    mount.host = "/h";
    mount.semantics = "odd";
    CHECK(krundl_spec_add_mount_with(spec, &mount) == KRUNDL_STATUS_INVALID_ARGUMENT);
    mount.struct_size = 3;
    CHECK(krundl_spec_add_mount_with(spec, &mount) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK(krundl_spec_set_log(spec, "loud", NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK(krundl_spec_set_kernel(spec, "/k", "zip", NULL, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK(krundl_spec_set_sound(spec, true) == KRUNDL_STATUS_OK);

    krundl_probe *probe = probe_of("1.19.7", "1.19.7");
    krundl_plan *plan = (krundl_plan *)spec;
    krundl_error *error = NULL;
    CHECK(krundl_plan_new(probe, spec, &plan, &error) == KRUNDL_STATUS_INVALID_SPEC);
    CHECK(plan == NULL);
    static const char *const FIELDS[] = {"mounts[0].host", "mounts[0].guest", "mounts[0].semantics", "mounts[0]",
                                         "log_level",      "kernel.format",   "sound"};
    CHECK(krundl_error_problem_count(error) == sizeof FIELDS / sizeof *FIELDS);
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
        CHECK_TEXT(krundl_error_problem_field(error, i), FIELDS[i]);
    CHECK_TEXT(krundl_error_problem_kind(error, 0), "invalid");
    CHECK_TEXT(krundl_error_problem_kind(error, 6), "unsupported");
    CHECK_HAS(krundl_error_problem_reason(error, 1), "UTF-8");
    CHECK_HAS(krundl_error_message(error), "mounts[0].host: is NULL");
    krundl_error_free(error);
    krundl_probe_free(probe);
    krundl_spec_free(spec);
}

static void a_newer_structure_is_taken_only_where_it_asks_for_nothing_new(void) {
    struct {
        krundl_mount mount;
        uint64_t newer;
    } theirs = {{0}, 0};
    theirs.mount.struct_size = sizeof theirs;
    theirs.mount.host = "/h";
    krundl_spec *spec = krundl_spec_new(1, 256);
    OK(krundl_spec_add_mount_with(spec, &theirs.mount));
    theirs.newer = 1;
    CHECK(krundl_spec_add_mount_with(spec, &theirs.mount) == KRUNDL_STATUS_INVALID_ARGUMENT);
    /* An older one ends before fields that we have. */
    theirs.mount.struct_size = offsetof(krundl_mount, tag);
    theirs.mount.tag = (const char *)8;
    OK(krundl_spec_add_mount_with(spec, &theirs.mount));
    krundl_spec_free(spec);
}

static void a_path_need_not_be_utf_8(void) {
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/\xff\xfe", place("data"));
    char command[8192];
    snprintf(command, sizeof command, "mkdir -p '%s'", dir);
    CHECK(system(command) == 0);
    krundl_spec *spec = krundl_spec_new(1, 256);
    OK(krundl_spec_set_root_dir(spec, place("root"), false));
    OK(krundl_spec_set_exec(spec, "/bin/sh"));
    OK(krundl_spec_add_mount(spec, dir, NULL, false));
    krundl_probe *probe = probe_of("succeeds", "1.19.7");
    krundl_plan *plan = NULL;
    OK(krundl_plan_new(probe, spec, &plan, NULL));
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    krundl_vm *vm = NULL;
    krundl_exit kind = KRUNDL_EXIT_RUNNING;
    OK(krundl_launch(plan, &options, &vm, NULL));
    OK(krundl_vm_wait(vm, -1, &kind, NULL, NULL));
    CHECK(kind == KRUNDL_EXIT_CODE);
    krundl_vm_free(vm);
    const char *json = "";
    krundl_error *error = NULL;
    CHECK(krundl_spec_json(spec, &json, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK(json == NULL);
    CHECK_HAS(krundl_error_message(error), "JSON cannot carry it");
    krundl_error_free(error);
    krundl_plan_free(plan);
    krundl_probe_free(probe);
    krundl_spec_free(spec);
}

int main(void) {
    every_setter_sets_its_field();
    a_mistake_is_told_by_the_plan_with_its_field();
    a_newer_structure_is_taken_only_where_it_asks_for_nothing_new();
    a_path_need_not_be_utf_8();
    return failures != 0;
}
